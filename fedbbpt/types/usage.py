"""What a reply cost: the use of a model, and the bytes of what was sent within a round; and how messages hold both."""

from typing import Any, NamedTuple

from fedbbpt.types import wire


class Usage(NamedTuple):
    """The use of a model, as counts.

    >>> Usage(queries=3, requests=1) + Usage(queries=2, requests=1)
    Usage(queries=5, requests=2, tokens=0, unparsed=0, output_tokens=0, unanswered=0)
    """

    queries: int = 0  # inputs
    requests: int = 0  # each holds one or more inputs
    tokens: int = 0  # of inputs and outputs, if the model reports them
    unparsed: int = 0  # answers that name no class
    output_tokens: int = 0  # the part of `tokens` that the model wrote
    unanswered: int = 0  # queries without scores

    def __add__(self, other: object) -> "Usage":
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(*map(sum, zip(self, other, strict=True)))

    def times(self, count: int) -> "Usage":
        """The usage of `count` repetitions."""
        return Usage(*(count * part for part in self))


USAGE_LENGTHS = len(Usage._fields) - 1, len(Usage._fields)  # how many of its numbers are sent, see `counts`


class Traffic(NamedTuple):
    """Bytes of activations and gradients between a client and the server of a split model (`fedbbpt.split_learning`).

    They are sent within a round, `up` from the client and `down` to it. Messages and replies are not included.
    """

    up: int = 0
    down: int = 0

    def __add__(self, other: object) -> "Traffic":
        if not isinstance(other, Traffic):
            return NotImplemented
        return Traffic(self.up + other.up, self.down + other.down)


def counts(usage: Usage) -> list[int]:
    """The counts to send; without `unanswered` if it is 0, so that replies stay short."""
    return list(usage if usage.unanswered else usage[:-1])


def optional(traffic: Traffic) -> dict[str, Traffic]:
    """The traffic to send, if there was any; black-box methods have none."""
    return {"traffic": traffic} if any(traffic) else {}


def traffic_of(scalars: dict[str, Any]) -> Traffic:
    """Inverse of `optional`; removes it from the scalars."""
    values = wire.listed(scalars.pop("traffic", [0, 0]), "traffic", len(Traffic._fields))
    return Traffic(*(wire.whole(value, "traffic") for value in values))


def usage_of(values: Any) -> Usage:
    """Inverse of `counts`."""
    return Usage(*(wire.whole(value, "usage") for value in wire.listed(values, "usage", *USAGE_LENGTHS)))

"""Messages between server and clients: converted to bytes and back without loss; other bytes are rejected."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import wire
from fedbbpt.types.arrays import Float32, Int64, Parameters
from fedbbpt.types.examples import Subset


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


USAGE_LENGTHS = len(Usage._fields) - 1, len(Usage._fields)  # how many of its numbers are sent, see `_counts`


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


@dataclass(frozen=True)
class Message:
    """The server's message to a client."""

    round: int  # counted from 1
    seed: int
    parameters: Parameters  # those that the handler needs
    subset: Subset | None = None  # of the client's data, if the message is to evaluate
    body: Float32 | None = None  # of a partitioned model: stays at the body's server, and is not in the bytes

    def having(self, **parameters: object) -> "Message":
        """The message with these parameters, as float32, in place of its own."""
        return replace(self, parameters={name: np.asarray(values, np.float32) for name, values in parameters.items()})

    def to_bytes(self) -> bytes:
        """Converts to safetensors, with the scalars in the metadata."""
        subset = {"subset": self.subset} if self.subset else {}
        return wire.packed(self.parameters, round=self.round, seed=self.seed, **subset)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Message":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: the bytes are no such message.
        """
        parameters, scalars = wire.unpacked(data)
        subset = scalars.pop("subset", None)
        if subset is not None and subset not in get_args(Subset):
            raise ValueError(f"subset is none of {', '.join(get_args(Subset))}")
        wire.keyed(scalars, "round", "seed")
        for part, values in parameters.items():
            wire.typed(values, part, values.ndim, np.float32, np.float64, np.float16, np.uint8)
        return cls(wire.whole(scalars["round"], "round"), wire.whole(scalars["seed"], "seed"), parameters, subset)


@dataclass(frozen=True)
class Update:
    """A client's reply to a message to train."""

    client: str
    payload: Mapping[str, NDArray[Any]]  # part -> new minus received parameters, or losses to rebuild them from
    weight: int  # number of training samples
    loss: float  # mean of all finite losses of the round, nats; NaN if there is none
    usage: Usage
    loss_std: float = math.nan  # of the losses within a step, root mean square over the steps
    traffic: Traffic = Traffic()  # noqa: RUF009 - frozen, too
    body: Float32 | None = None  # see `Message.body`: the trained copy of this client

    def to_bytes(self) -> bytes:
        """Converts to safetensors, with the scalars in the metadata."""
        scalars = [self.client, self.weight, self.loss, self.loss_std, *_counts(self.usage)]
        return wire.packed(self.payload, update=scalars, **_optional(self.traffic))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Update":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: the bytes are no such message.
        """
        payload, scalars = wire.unpacked(data)
        traffic = _traffic(scalars)
        wire.keyed(scalars, "update")
        values = wire.listed(scalars["update"], "update", *(4 + count for count in USAGE_LENGTHS))
        client, weight = wire.named(values[0]), wire.whole(values[1], "weight")
        loss, loss_std = wire.real(values[2], "loss"), wire.real(values[3], "loss_std")
        if loss_std < 0:
            raise ValueError("loss_std is negative")
        for part, array in payload.items():
            wire.typed(array, part, array.ndim, np.float32, np.float64, np.float16, np.uint8, np.int8, np.uint32)
        return cls(client, payload, weight, loss, _usage(values[4:]), loss_std, traffic)


@dataclass(frozen=True)
class Statistics:
    """A client's part of a sum over all clients, computed without queries."""

    values: Float32
    usage = Usage()
    traffic = Traffic()

    def to_bytes(self) -> bytes:
        """Converts to safetensors."""
        return wire.packed({"values": self.values})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Statistics":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: the bytes are no such message.
        """
        arrays, scalars = wire.unpacked(data)
        wire.keyed({**arrays, **scalars}, "values")
        return cls(wire.typed(arrays["values"], "values", 1, np.float32))


@dataclass(frozen=True)
class Score:
    """The parameters' score on a subset of a client's data."""

    client: str
    confusion: Int64  # (K, K): true class by predicted class, of answered examples only
    loss_sum: float  # cross-entropy, nats, of the answered examples
    unanswered: int
    usage: Usage
    traffic: Traffic = Traffic()  # noqa: RUF009 - frozen, too

    @property
    def accuracy(self) -> float | None:
        """The share of correct predictions; unanswered examples count as wrong. None without examples."""
        examples = int(self.confusion.sum()) + self.unanswered
        return float(self.confusion.trace() / examples) if examples else None

    def to_bytes(self) -> bytes:
        """Converts to safetensors, with the scalars in the metadata."""
        counts = {"unanswered": self.unanswered, "usage": _counts(self.usage), **_optional(self.traffic)}
        arrays = {"confusion": self.confusion.astype(np.int32)}  # half the bytes
        return wire.packed(arrays, client=self.client, loss_sum=self.loss_sum, **counts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Score":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: the bytes are no such message.
        """
        arrays, scalars = wire.unpacked(data)
        traffic = _traffic(scalars)
        wire.keyed({**arrays, **scalars}, "confusion", "client", "loss_sum", "unanswered", "usage")
        confusion = wire.typed(arrays["confusion"], "confusion", 2, np.int32).astype(np.int64)
        client, loss_sum = wire.named(scalars["client"]), wire.real(scalars["loss_sum"], "loss_sum")
        if confusion.shape[0] != confusion.shape[1] or (confusion < 0).any() or math.isnan(loss_sum):
            raise ValueError("confusion is not a square of counts, or loss_sum is NaN")
        unanswered = wire.whole(scalars["unanswered"], "unanswered")
        return cls(client, confusion, loss_sum, unanswered, _usage(scalars["usage"]), traffic)


@dataclass(frozen=True)
class OutOfDate:
    """A client's reply to a message that builds on state which the client does not have."""

    client: str
    usage = Usage()
    traffic = Traffic()

    def to_bytes(self) -> bytes:
        """Converts to safetensors without arrays."""
        return wire.packed({}, out_of_date=self.client)

    @classmethod
    def from_bytes(cls, data: bytes) -> "OutOfDate":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: the bytes are no such message.
        """
        arrays, scalars = wire.unpacked(data)
        wire.keyed({**arrays, **scalars}, "out_of_date")
        return cls(wire.named(scalars["out_of_date"]))


@dataclass(frozen=True)
class Received:
    """A client's reply to the message that it take its neighbours' letters."""

    client: str
    missing: Mapping[str, str]  # sender -> why there is no letter of it: completes "there is no letter of SENDER: "
    traffic: Traffic  # bytes of its own letter, as often as it sent it, and of those that it took
    usage = Usage()

    def to_bytes(self) -> bytes:
        """Converts to safetensors without arrays."""
        return wire.packed({}, received=self.client, missing=dict(self.missing), **_optional(self.traffic))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Received":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: the bytes are no such message.
        """
        arrays, scalars = wire.unpacked(data)
        traffic = _traffic(scalars)
        wire.keyed({**arrays, **scalars}, "received", "missing")
        missing = wire.mapped(scalars["missing"], "missing")
        for sender, why in missing.items():
            wire.named(sender)
            wire.named(why)
        return cls(wire.named(scalars["received"]), missing, traffic)


def _counts(usage: Usage) -> list[int]:
    """The counts to send; without `unanswered` if it is 0, so that replies stay short."""
    return list(usage if usage.unanswered else usage[:-1])


def _optional(traffic: Traffic) -> dict[str, Traffic]:
    """The traffic to send, if there was any; black-box methods have none."""
    return {"traffic": traffic} if any(traffic) else {}


def _traffic(scalars: dict[str, Any]) -> Traffic:
    """Inverse of `_optional`; removes it from the scalars."""
    values = wire.listed(scalars.pop("traffic", [0, 0]), "traffic", len(Traffic._fields))
    return Traffic(*(wire.whole(value, "traffic") for value in values))


def _usage(values: Any) -> Usage:
    """Inverse of `_counts`."""
    return Usage(*(wire.whole(value, "usage") for value in wire.listed(values, "usage", *USAGE_LENGTHS)))

"""What passes between server and clients. It turns into bytes and back without loss; other bytes are refused."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import wire
from fedbbpt.types.arrays import Float32, Int64, Parameters
from fedbbpt.types.examples import Subset


class Usage(NamedTuple):
    """What was asked of the model: `queries` inputs in `requests`, of `tokens` where it counts them.

    Of the tokens, the model wrote `output_tokens`; of its answers, `unparsed` were words that name no class. Of the
    queries, `unanswered` brought no scores.
    """

    queries: int = 0
    requests: int = 0
    tokens: int = 0
    unparsed: int = 0
    output_tokens: int = 0
    unanswered: int = 0

    def __add__(self, other: object) -> "Usage":
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(*map(sum, zip(self, other, strict=True)))

    def times(self, count: int) -> "Usage":
        """The same, so often."""
        return Usage(*(count * part for part in self))


TOLD_OF_USAGE = len(Usage._fields) - 1, len(Usage._fields)  # how many of its numbers travel, see `_counts`


class Traffic(NamedTuple):
    """Bytes of activations and gradients between a client and the server of a split model (`fedbbpt.split_learning`).

    They are message bodies, `up` from the client and `down` to it, within a round; what a round itself sends is not
    among them.
    """

    up: int = 0
    down: int = 0

    def __add__(self, other: object) -> "Traffic":
        if not isinstance(other, Traffic):
            return NotImplemented
        return Traffic(self.up + other.up, self.down + other.down)


@dataclass(frozen=True)
class Message:
    """All that a client is told: the round, the run's seed, the parameters that it needs, and what to evaluate on."""

    round: int  # counted from 1
    seed: int
    parameters: Parameters
    subset: Subset | None = None  # of the client's data, where the message asks for a score
    body: Float32 | None = None  # of a partitioned model: stays with the server that runs it, and is never written

    def to_bytes(self) -> bytes:
        """As safetensors, with the scalars in its metadata."""
        subset = {"subset": self.subset} if self.subset else {}
        return wire.packed(self.parameters, round=self.round, seed=self.seed, **subset)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Message":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: `to_bytes` writes no such thing.
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
    """A client's answer to a round of training."""

    client: str
    payload: Mapping[str, NDArray[Any]]  # part -> new minus received parameters, or what they can be rebuilt from
    weight: int  # number of training samples
    loss: float  # mean over all finite losses that the round measured; NaN where there was none
    usage: Usage
    loss_std: float = math.nan  # of the losses of one step, root mean square over the steps
    traffic: Traffic = Traffic()  # noqa: RUF009 - frozen, too
    body: Float32 | None = None  # see `Message.body`: what training made of the server's copy for this client

    def to_bytes(self) -> bytes:
        """As safetensors, with the scalars in its metadata."""
        scalars = [self.client, self.weight, self.loss, self.loss_std, *_counts(self.usage)]
        return wire.packed(self.payload, update=scalars, **_optional(self.traffic))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Update":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: `to_bytes` writes no such thing.
        """
        payload, scalars = wire.unpacked(data)
        traffic = _traffic(scalars)
        wire.keyed(scalars, "update")
        told = wire.listed(scalars["update"], "update", *(4 + count for count in TOLD_OF_USAGE))
        client, weight = wire.named(told[0]), wire.whole(told[1], "weight")
        loss, loss_std = wire.real(told[2], "loss"), wire.real(told[3], "loss_std")
        if loss_std < 0:
            raise ValueError("loss_std is negative")
        for part, values in payload.items():
            wire.typed(values, part, values.ndim, np.float32, np.float64, np.float16)
        return cls(client, payload, weight, loss, _usage(told[4:]), loss_std, traffic)


@dataclass(frozen=True)
class Statistics:
    """What a client adds to a sum over all clients; nothing was asked of the model for it."""

    values: Float32
    usage = Usage()
    traffic = Traffic()

    def to_bytes(self) -> bytes:
        """As safetensors."""
        return wire.packed({"values": self.values})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Statistics":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: `to_bytes` writes no such thing.
        """
        arrays, scalars = wire.unpacked(data)
        wire.keyed({**arrays, **scalars}, "values")
        return cls(wire.typed(arrays["values"], "values", 1, np.float32))


@dataclass(frozen=True)
class Score:
    """How the parameters do on one client's split."""

    client: str
    confusion: Int64  # (K, K): true class by predicted class, answered queries only
    loss_sum: float  # cross-entropy in nats over the answered queries
    unanswered: int
    usage: Usage
    traffic: Traffic = Traffic()  # noqa: RUF009 - frozen, too

    @property
    def accuracy(self) -> float | None:
        """Share of the examples that were answered and answered right; None without examples."""
        examples = int(self.confusion.sum()) + self.unanswered
        return float(self.confusion.trace() / examples) if examples else None

    def to_bytes(self) -> bytes:
        """As safetensors, with the scalars in its metadata."""
        scalars = {k: getattr(self, k) for k in ("client", "loss_sum", "unanswered")} | {"usage": _counts(self.usage)}
        return wire.packed({"confusion": self.confusion}, **scalars, **_optional(self.traffic))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Score":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: `to_bytes` writes no such thing.
        """
        arrays, scalars = wire.unpacked(data)
        traffic = _traffic(scalars)
        wire.keyed({**arrays, **scalars}, "confusion", "client", "loss_sum", "unanswered", "usage")
        confusion = wire.typed(arrays["confusion"], "confusion", 2, np.int64)
        client, loss_sum = wire.named(scalars["client"]), wire.real(scalars["loss_sum"], "loss_sum")
        if confusion.shape[0] != confusion.shape[1] or (confusion < 0).any() or math.isnan(loss_sum):
            raise ValueError("confusion is not a square of counts, or loss_sum is NaN")
        unanswered = wire.whole(scalars["unanswered"], "unanswered")
        return cls(client, confusion, loss_sum, unanswered, _usage(scalars["usage"]), traffic)


@dataclass(frozen=True)
class OutOfDate:
    """A client's answer to a message that it cannot follow: it lacks what the round before would have left with it."""

    client: str
    usage = Usage()
    traffic = Traffic()

    def to_bytes(self) -> bytes:
        """As safetensors without arrays."""
        return wire.packed({}, out_of_date=self.client)

    @classmethod
    def from_bytes(cls, data: bytes) -> "OutOfDate":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: `to_bytes` writes no such thing.
        """
        arrays, scalars = wire.unpacked(data)
        wire.keyed({**arrays, **scalars}, "out_of_date")
        return cls(wire.named(scalars["out_of_date"]))


def _counts(usage: Usage) -> list[int]:
    """Failures only where there were some: all other replies are no longer for them."""
    return list(usage if usage.unanswered else usage[:-1])


def _optional(traffic: Traffic) -> dict[str, Traffic]:
    """Only where there was any: replies of methods that query a black box get no longer for it."""
    return {"traffic": traffic} if any(traffic) else {}


def _traffic(scalars: dict[str, Any]) -> Traffic:
    """Inverse of `_optional`; takes it out of the scalars."""
    told = wire.listed(scalars.pop("traffic", [0, 0]), "traffic", len(Traffic._fields))
    return Traffic(*(wire.whole(value, "traffic") for value in told))


def _usage(values: Any) -> Usage:
    """Inverse of `_counts`."""
    return Usage(*(wire.whole(value, "usage") for value in wire.listed(values, "usage", *TOLD_OF_USAGE)))

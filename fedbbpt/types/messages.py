"""Messages between server and clients: converted to bytes and back without loss; other bytes are rejected."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import wire
from fedbbpt.types.arrays import Float32, Int64, Parameters
from fedbbpt.types.examples import Subset
from fedbbpt.types.usage import USAGE_LENGTHS, Traffic, Usage, counts, optional, traffic_of, usage_of


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
        scalars = [self.client, self.weight, self.loss, self.loss_std, *counts(self.usage)]
        return wire.packed(self.payload, update=scalars, **optional(self.traffic))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Update":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: the bytes are no such message.
        """
        payload, scalars = wire.unpacked(data)
        traffic = traffic_of(scalars)
        wire.keyed(scalars, "update")
        values = wire.listed(scalars["update"], "update", *(4 + count for count in USAGE_LENGTHS))
        client, weight = wire.named(values[0]), wire.whole(values[1], "weight")
        loss, loss_std = wire.real(values[2], "loss"), wire.real(values[3], "loss_std")
        if loss_std < 0:
            raise ValueError("loss_std is negative")
        for part, array in payload.items():
            wire.typed(array, part, array.ndim, np.float32, np.float64, np.float16, np.uint8, np.int8, np.uint32)
        return cls(client, payload, weight, loss, usage_of(values[4:]), loss_std, traffic)


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


class Pair(NamedTuple):
    """How a score differs from an earlier one on the same examples."""

    won: int  # examples that it has right and the earlier one wrong
    lost: int  # the reverse


@dataclass(frozen=True)
class Score:
    """The parameters' score on a subset of a client's data."""

    client: str
    confusion: Int64  # (K, K): true class by predicted class, of answered examples only
    loss_sum: float  # cross-entropy, nats, of the answered examples
    unanswered: int
    usage: Usage
    traffic: Traffic = Traffic()  # noqa: RUF009 - frozen, too
    pairs: Mapping[str, Pair] = field(default_factory=dict)  # name of an earlier score -> see `algorithms.pairs`

    @property
    def examples(self) -> int:
        """The number of examples, the unanswered ones among them."""
        return int(self.confusion.sum()) + self.unanswered

    @property
    def accuracy(self) -> float | None:
        """The share of correct predictions; unanswered examples count as wrong. None without examples."""
        return float(self.confusion.trace() / self.examples) if self.examples else None

    @property
    def has_possible_pairs(self) -> bool:
        """Whether no pair won more examples than are right, or lost more than are wrong."""
        right = int(self.confusion.trace())
        return all(0 <= won <= right and 0 <= lost <= self.examples - right for won, lost in self.pairs.values())

    def to_bytes(self) -> bytes:
        """Converts to safetensors, with the scalars in the metadata."""
        more = {"unanswered": self.unanswered, "usage": counts(self.usage), **optional(self.traffic)}
        more |= {"pairs": dict(self.pairs)} if self.pairs else {}
        arrays = {"confusion": self.confusion.astype(np.int32)}  # half the bytes
        return wire.packed(arrays, client=self.client, loss_sum=self.loss_sum, **more)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Score":
        """Inverse of `to_bytes`, bit for bit.

        Raises:
            ValueError: the bytes are no such message.
        """
        arrays, scalars = wire.unpacked(data)
        traffic = traffic_of(scalars)
        pairs = {wire.named(k): _pair(pair) for k, pair in wire.mapped(scalars.pop("pairs", {}), "pairs").items()}
        wire.keyed({**arrays, **scalars}, "confusion", "client", "loss_sum", "unanswered", "usage")
        confusion = wire.typed(arrays["confusion"], "confusion", 2, np.int32).astype(np.int64)
        client, loss_sum = wire.named(scalars["client"]), wire.real(scalars["loss_sum"], "loss_sum")
        if confusion.shape[0] != confusion.shape[1] or (confusion < 0).any() or math.isnan(loss_sum):
            raise ValueError("confusion is not a square of counts, or loss_sum is NaN")
        unanswered = wire.whole(scalars["unanswered"], "unanswered")
        return cls(client, confusion, loss_sum, unanswered, usage_of(scalars["usage"]), traffic, pairs)


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
        return wire.packed({}, received=self.client, missing=dict(self.missing), **optional(self.traffic))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Received":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: the bytes are no such message.
        """
        arrays, scalars = wire.unpacked(data)
        traffic = traffic_of(scalars)
        wire.keyed({**arrays, **scalars}, "received", "missing")
        missing = wire.mapped(scalars["missing"], "missing")
        for sender, why in missing.items():
            wire.named(sender)
            wire.named(why)
        return cls(wire.named(scalars["received"]), missing, traffic)


def _pair(values: Any) -> Pair:
    won, lost = wire.listed(values, "a pair", len(Pair._fields))
    return Pair(wire.whole(won, "won"), wire.whole(lost, "lost"))

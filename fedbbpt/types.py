"""What passes between the rooms. All is frozen; what crosses a wire turns into bytes and back without loss."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Inputs = NDArray[Any]  # images (b, 3, h, w), float32 in [0, 1]; or texts (b,), an object array of str
Size = tuple[int, int] | None  # (h, w) in pixels of the images that a model reads; None where it reads texts
Parameters = Mapping[str, Float32]  # part ("prompt", "readout") -> flat vector


class Prompted(str):
    """A text with its prompt: a plain string for whoever reads those, its parts for whoever cuts the text alone.

    `prefix` (L, D) stands before all in the model's own space of word embeddings, for models that read those.
    `examples` are texts with their answers, each in the prompt as the text is: all of them stand before it.
    """

    before: str
    text: str
    after: str
    prefix: "Float32 | None"
    examples: tuple[tuple[str, str], ...]

    def __new__(
        cls,
        text: str,
        before: str = "",
        after: str = "",
        prefix: "Float32 | None" = None,
        examples: tuple[tuple[str, str], ...] = (),
    ) -> "Prompted":
        shown = "".join(f"{before}{example}{after}\n{answer}\n\n" for example, answer in examples)
        one = super().__new__(cls, shown + before + text + after)
        one.before, one.text, one.after, one.prefix, one.examples = before, text, after, prefix, examples
        return one


class Batch(NamedTuple):
    """A few examples, as the prompt and the loss want them."""

    inputs: Inputs
    labels: Int64  # (b,)
    features: Float32 | None  # (b, D): a frozen encoder's, for prompts that ask for them


class Rows:
    """Rows of an array that may lie on disk: read when they are asked for, an index at a time as in an array."""

    def __init__(self, array: NDArray[Any], rows: NDArray[np.integer[Any]]) -> None:
        self._array, self._rows = array, rows
        self.shape, self.dtype = (len(rows), *array.shape[1:]), array.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return np.asarray(self._array[self._rows[index]])

    def take(self, rows: NDArray[np.integer[Any]]) -> "Rows":
        """Some of these; nothing is read."""
        return Rows(self._array, self._rows[rows])


@dataclass(frozen=True)
class Dataset:
    """Labelled images, kept as the 8-bit pictures that they are, or labelled texts."""

    inputs: NDArray[Any] | Rows  # (N, 3, h, w) uint8, or (N,) of str
    labels: Int64  # (N,)
    features: Float32 | None = None  # (N, D)
    domains: Int64 | None = None  # (N,): which of the task's domains each comes from, where it has several
    groups: Int64 | None = None  # (N,): what each shows, where several show the same, say frames of one unit

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: NDArray[np.integer[Any]] | slice) -> Batch:
        """The chosen examples; images as float32 in [0, 1]."""
        features = None if self.features is None else self.features[rows]
        inputs = self.inputs[rows]
        if inputs.dtype == np.uint8:
            inputs = inputs.astype(np.float32) / np.float32(255)
        return Batch(inputs, self.labels[rows], features)

    def take(self, rows: NDArray[np.integer[Any]]) -> "Dataset":
        """The chosen examples as a data set of their own: a copy, but for what lies on disk."""
        more = (None if column is None else column[rows] for column in (self.features, self.domains, self.groups))
        inputs = self.inputs.take(rows) if isinstance(self.inputs, Rows) else self.inputs[rows]
        return Dataset(inputs, self.labels[rows], *more)

    def contents(self) -> Iterator[bytes]:
        """The bytes of each example's input: pixels, or UTF-8."""
        for i in range(len(self)):
            one = self.inputs[i]
            yield one.encode() if isinstance(one, str) else one.tobytes()


@dataclass(frozen=True)
class Client:
    """One holder of private data."""

    id: str
    train: Dataset
    validation: Dataset
    test: Dataset


class Usage(NamedTuple):
    """What was asked of the model: `queries` inputs in `calls` requests, of `tokens` where it counts them.

    Of the tokens, `written` were the model's own; of its answers, `unmatched` were words that name no class. Of the
    queries, `unanswered` brought no scores.
    """

    queries: int = 0
    calls: int = 0
    tokens: int = 0
    unmatched: int = 0
    written: int = 0
    unanswered: int = 0

    def __add__(self, other: object) -> "Usage":
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(*map(sum, zip(self, other, strict=True)))

    def times(self, count: int) -> "Usage":
        """The same, so often."""
        return Usage(*(count * part for part in self))


class Crossed(NamedTuple):
    """Bytes between a client and the server inside a round, where the model is cut between them (`fedbbpt.split`)."""

    up: int = 0
    down: int = 0

    def __add__(self, other: object) -> "Crossed":
        if not isinstance(other, Crossed):
            return NotImplemented
        return Crossed(self.up + other.up, self.down + other.down)


@dataclass(frozen=True)
class Message:
    """All that a client is told: the round, the run's seed and the parameters that it needs."""

    round: int  # counted from 1
    seed: int
    parameters: Parameters

    def to_bytes(self) -> bytes:
        """As safetensors, with the scalars in its metadata."""
        return packed(self.parameters, round=self.round, seed=self.seed)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Message":
        """Inverse of `to_bytes`, bit for bit."""
        parameters, scalars = unpacked(data)
        return cls(parameters=parameters, **scalars)


@dataclass(frozen=True)
class Update:
    """A client's answer to a round of training."""

    client: str
    payload: Mapping[str, NDArray[Any]]  # part -> new minus received parameters, or what they can be rebuilt from
    weight: int  # number of training samples
    loss: float  # mean over all finite losses that the round measured; NaN where there was none
    usage: Usage
    spread: float = math.nan  # standard deviation of the losses of one step, root mean square over the steps
    crossed: Crossed = Crossed()  # noqa: RUF009 - frozen, too

    def to_bytes(self) -> bytes:
        """As safetensors, with the scalars in its metadata."""
        scalars = [self.client, self.weight, self.loss, self.spread, *_counts(self.usage)]
        return packed(self.payload, update=scalars, **_told(self.crossed))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Update":
        """Inverse of `to_bytes`, bit for bit."""
        payload, scalars = unpacked(data)
        client, weight, loss, spread, *usage = scalars["update"]
        return cls(client, payload, weight, loss, Usage(*usage), spread, Crossed(*scalars.get("crossed", ())))


@dataclass(frozen=True)
class Sums:
    """What a client adds to a sum over all clients; nothing was asked of the model for it."""

    values: Float32
    usage = Usage()
    crossed = Crossed()

    def to_bytes(self) -> bytes:
        """As safetensors."""
        return packed({"values": self.values})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Sums":
        """Inverse of `to_bytes`, bit for bit."""
        arrays, _ = unpacked(data)
        return cls(**arrays)


@dataclass(frozen=True)
class Score:
    """How the parameters do on one client's split."""

    client: str
    confusion: Int64  # (K, K): true class by predicted class, answered queries only
    loss_sum: float  # cross-entropy in nats over the answered queries
    unanswered: int
    usage: Usage
    crossed: Crossed = Crossed()  # noqa: RUF009 - frozen, too

    @property
    def accuracy(self) -> float | None:
        """Share of the examples that were answered and answered right; None without examples."""
        examples = int(self.confusion.sum()) + self.unanswered
        return float(self.confusion.trace() / examples) if examples else None

    def to_bytes(self) -> bytes:
        """As safetensors, with the scalars in its metadata."""
        scalars = {k: getattr(self, k) for k in ("client", "loss_sum", "unanswered")} | {"usage": _counts(self.usage)}
        return packed({"confusion": self.confusion}, **scalars, **_told(self.crossed))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Score":
        """Inverse of `to_bytes`, bit for bit."""
        arrays, scalars = unpacked(data)
        counts = {"usage": Usage(*scalars["usage"]), "crossed": Crossed(*scalars.get("crossed", ()))}
        return cls(confusion=arrays["confusion"], **scalars | counts)


def _counts(usage: Usage) -> list[int]:
    """Failures only where there were some: all other replies are no longer for them."""
    return list(usage if usage.unanswered else usage[:-1])


def _told(crossed: Crossed) -> dict[str, Crossed]:
    """Only where there is something to tell: the replies of all other methods are no longer for it."""
    return {"crossed": crossed} if any(crossed) else {}


def packed(arrays: Mapping[str, NDArray[Any]], **scalars: Any) -> bytes:
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(tensors, metadata={"scalars": json.dumps(scalars, separators=(",", ":"))})


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    # safetensors reads metadata from files only; in memory its header is 8 bytes of length and that much JSON.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return safetensors.numpy.load(data), json.loads(header["__metadata__"]["scalars"])

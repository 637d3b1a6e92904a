"""What clients hold, and what a model reads of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types.arrays import Float32, Inputs, Int64


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


class ArrayView:
    """Rows of an array that may lie on disk: read when they are asked for, an index at a time as in an array."""

    def __init__(self, array: NDArray[Any], rows: NDArray[np.integer[Any]]) -> None:
        self._array, self._rows = array, rows
        self.shape, self.dtype = (len(rows), *array.shape[1:]), array.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return np.asarray(self._array[self._rows[index]])

    def take(self, rows: NDArray[np.integer[Any]]) -> "ArrayView":
        """Some of these; nothing is read."""
        return ArrayView(self._array, self._rows[rows])


@dataclass(frozen=True)
class Dataset:
    """Labelled images, kept as the 8-bit pictures that they are, or labelled texts."""

    inputs: NDArray[Any] | ArrayView  # (N, 3, h, w) uint8, or (N,) of str
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
        inputs = self.inputs.take(rows) if isinstance(self.inputs, ArrayView) else self.inputs[rows]
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

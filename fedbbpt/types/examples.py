"""Clients' data, and the inputs that a model reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types.arrays import Float32, Inputs, Int64, as_queried

Subset = Literal["train", "validation", "test"]  # of a client's data


class Prompted(str):
    r"""A text with its prompt: a plain string whose parts backends can tell apart, to truncate the text alone.

    `soft_prompt` (L, D) comes first; it is in the model's space of word embeddings. `examples` are pairs of a text and
    its answer; they come before the text, each with the same prefix and suffix.

    >>> one = Prompted("It rains.", prefix="Weather: ", suffix=" It is", examples=(("It hails.", "bad"),))
    >>> str(one)
    'Weather: It hails. It is\nbad\n\nWeather: It rains. It is'
    >>> one.text
    'It rains.'
    """

    prefix: str
    text: str
    suffix: str
    soft_prompt: "Float32 | None"
    examples: tuple[tuple[str, str], ...]

    def __new__(
        cls,
        text: str,
        prefix: str = "",
        suffix: str = "",
        soft_prompt: "Float32 | None" = None,
        examples: tuple[tuple[str, str], ...] = (),
    ) -> "Prompted":
        shown = "".join(f"{prefix}{example}{suffix}\n{answer}\n\n" for example, answer in examples)
        one = super().__new__(cls, shown + prefix + text + suffix)
        one.prefix, one.text, one.suffix, one.soft_prompt, one.examples = prefix, text, suffix, soft_prompt, examples
        return one


class Batch(NamedTuple):
    """A minibatch for prompts and losses."""

    inputs: Inputs
    labels: Int64  # (b,)
    features: Float32 | None  # (b, D) from a frozen encoder, for prompts that use them


class ArrayView:
    """Some rows of an array that may be on disk; they are read when the view is indexed.

    >>> view = ArrayView(np.arange(10) * 10, np.array([7, 3, 1]))
    >>> len(view), view[np.array([0, 2])]
    (3, array([70, 10]))
    """

    def __init__(self, array: NDArray[Any], rows: NDArray[np.integer[Any]]) -> None:
        self._array, self._rows = array, rows
        self.shape, self.dtype = (len(rows), *array.shape[1:]), array.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return np.asarray(self._array[self._rows[index]])

    def take(self, rows: NDArray[np.integer[Any]]) -> "ArrayView":
        """A view of some of these rows; does not read them."""
        return ArrayView(self._array, self._rows[rows])


@dataclass(frozen=True)
class Dataset:
    """Labelled images, stored in 8 bits, or labelled texts."""

    inputs: NDArray[Any] | ArrayView  # (N, 3, h, w) uint8, or (N,) of str
    labels: Int64  # (N,)
    features: Float32 | None = None  # (N, D)
    domains: Int64 | None = None  # (N,): the examples' domains, if the task has several
    groups: Int64 | None = None  # (N,): equal for examples that no split may separate, say frames of one sprite

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: NDArray[np.integer[Any]] | slice) -> Batch:
        """The chosen examples; images as float32 in [0, 1]."""
        features = None if self.features is None else self.features[rows]
        return Batch(as_queried(self.inputs[rows]), self.labels[rows], features)

    def take(self, rows: NDArray[np.integer[Any]]) -> "Dataset":
        """The chosen examples as a new data set; copies arrays that are not on disk."""
        more = (None if column is None else column[rows] for column in (self.features, self.domains, self.groups))
        inputs = self.inputs.take(rows) if isinstance(self.inputs, ArrayView) else self.inputs[rows]
        return Dataset(inputs, self.labels[rows], *more)

    def contents(self) -> Iterator[bytes]:
        """Yields the bytes of each input: its pixels, or its text in UTF-8."""
        for i in range(len(self)):
            one = self.inputs[i]
            yield one.encode() if isinstance(one, str) else one.tobytes()


@dataclass(frozen=True)
class Client:
    """A client's private data."""

    id: str
    train: Dataset
    validation: Dataset
    test: Dataset

    def subset(self, name: Subset) -> Dataset:
        """The training, validation or test data."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

"""A toy task: a model that answers at once, three clients with a few pictures each, and all that is tuned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import AlgorithmContext, MakeOptimizer
from fedbbpt.backend import Backend, BackendInfo, BackendOutput
from fedbbpt.objective import Objective, PromptedModel
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts import Prompt
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts import Readout
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Client, Dataset, Inputs

CLASSES = ("red", "green", "blue")
SIZE = (8, 8)


class ToyBackend(Backend):
    """Scores linear in the mean colour of an image's quarters. Every image is answered by itself.

    Args:
        classes: the names of the scores.
        scores: which kind of scores they are.
        max_batch: most inputs of one query.
        fails: says which images of (b, 3, h, w) get no answer.

    Attributes:
        calls: the sizes of all queries.
        seen: the bytes of all inputs.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = CLASSES,
        scores: Literal["logits", "log-probabilities", "probabilities"] = "logits",
        max_batch: int = 16,
        fails: Callable[[Inputs], NDArray[np.bool_]] | None = None,
    ) -> None:
        self.info = BackendInfo("toy", SIZE, tuple(classes), scores, max_batch)
        self.calls: list[int] = []
        self.seen: list[bytes] = []
        self._fails = fails
        self._weights = np.random.default_rng(7).normal(size=(12, len(classes)))
        for i in range(len(classes)):
            self._weights[4 * (i % 3) : 4 * (i % 3) + 4, i] += 1  # class i likes colour i

    def query(self, inputs: Inputs) -> BackendOutput:
        """See `Backend.query`.

        Raises:
            ValueError: the inputs are not what a backend may be asked about.
        """
        if inputs.dtype != np.float32 or inputs.shape[1:] != (3, *SIZE) or not 0 < len(inputs) <= self.info.max_batch:
            raise ValueError(f"expected at most {self.info.max_batch} images (b, 3, 8, 8), got {inputs.shape}")
        self.calls.append(len(inputs))
        self.seen.extend(image.tobytes() for image in inputs)
        quarters = inputs.astype(np.float64).reshape(-1, 3, 2, 4, 2, 4).mean((3, 5)).reshape(-1, 12)
        scores = (quarters[:, :, None] * self._weights).sum(1).astype(np.float32)
        if self._fails is not None:
            scores[self._fails(inputs)] = np.nan
        return BackendOutput(scores)


def toy_data(count: int, seed: int = 0) -> Dataset:
    """Pictures of one dull colour each, with noise; the label is the colour."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), count)
    inputs = rng.integers(0, 120, (count, 3, *SIZE))
    inputs[np.arange(count), labels] += 60
    return Dataset(inputs.astype(np.uint8), labels.astype(np.int64))


def toy_client(name: str = "client-000", train: int = 7, seed: int = 0) -> Client:
    """A client with so many training, 5 validation and 9 test examples."""
    return Client(name, toy_data(train, 3 * seed), toy_data(5, 3 * seed + 1), toy_data(9, 3 * seed + 2))


def toy_clients() -> list[Client]:
    """Three clients with 4, 7 and 12 training examples."""
    return [toy_client(f"client-{i:03d}", train, i) for i, train in enumerate((4, 7, 12))]


@dataclass(frozen=True)
class Toy:
    """All that an algorithm needs for a few rounds: replace what yours needs otherwise.

    >>> toy = Toy()
    >>> len(toy.clients), toy.context().model.prompt.dim
    (3, 12)
    """

    backend: Any = field(default_factory=ToyBackend)
    prompt: Prompt | None = None  # None: a small DCT prompt
    readout: Readout | None = None  # None: a linear one
    optimizer: MakeOptimizer = SpsaGC
    clients: Sequence[Client] = field(default_factory=toy_clients)

    @cached_property
    def model(self) -> PromptedModel:
        """What server and clients know of the model."""
        info = self.backend.info
        prompt = self.prompt or Dct(info.input_size, frequencies=2)
        return PromptedModel(info, prompt, self.readout or LinearReadout(info, info.classes))

    @property
    def objective(self) -> Objective:
        """The clients' way to the model."""
        return self.model.on(self.backend)

    def context(self, seed: int = 5) -> AlgorithmContext:
        """What an algorithm is built from."""
        return AlgorithmContext(self.model, self.optimizer, seed, self.backend, len(self.clients))

    def having(self, **parts: Any) -> "Toy":
        """The same with other parts."""
        return replace(self, **parts)

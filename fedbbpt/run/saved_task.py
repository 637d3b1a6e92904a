"""The parts of a task that a run's folder stores, so that `predict` works without the task's data."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel

from fedbbpt.backend import Fitted, Modality, Provider
from fedbbpt.data import Task, TaskData
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import DataError
from fedbbpt.types import Dataset, Size

FITTED = "fitted/"


@dataclass(frozen=True)
class RecordingProvider(Provider):
    """A provider that records what a backend takes from it: shots, or what the backend fitted to them."""

    taken: dict[str, NDArray[Any]] = field(default_factory=dict)

    def fit(self, make: Callable[[], Fitted]) -> Fitted:
        """See `Provider.fit`."""
        if not self._fitted:
            self.taken.update({FITTED + name: np.array(array, order="C") for name, array in make().items()})
        return {name.removeprefix(FITTED): array for name, array in self._fitted.items()}

    def to_bytes(self) -> bytes:
        """Serialises what was taken as safetensors; empty if nothing was."""
        return safetensors.numpy.save(found) if (found := self._fitted or self.taken) else b""

    @property
    def _fitted(self) -> dict[str, NDArray[Any]]:
        return {name: array for name, array in self.taken.items() if name.startswith(FITTED)}


def recording(provider: Provider, content: bytes = b"") -> RecordingProvider:
    """Wraps a provider; what an earlier `RecordingProvider.to_bytes` recorded is replayed."""
    taken = safetensors.numpy.load(content) if content else {}
    values = {one.name: getattr(provider, one.name) for one in fields(Provider)}
    shots = None if provider.shots is None else partial(_shots, provider.shots, taken)
    return RecordingProvider(**values | {"shots": shots}, taken=taken)


def _shots(give: Callable[[Size], Dataset], taken: dict[str, NDArray[Any]], size: Size) -> Dataset:
    key = f"shots/{'texts' if size is None else 'x'.join(map(str, size))}/"
    if key + "inputs" not in taken:
        data = give(size)
        inputs = data.inputs[:]
        taken[key + "inputs"] = inputs if size else np.frombuffer(json.dumps(list(inputs)).encode(), np.uint8)
        taken[key + "labels"] = data.labels
    inputs = taken[key + "inputs"]
    return Dataset(inputs if size else as_texts(json.loads(inputs.tobytes())), taken[key + "labels"])


class TaskInfo(BaseModel):
    """The metadata of a task."""

    modality: Modality
    source: str | None
    classes: list[str]
    head: str | None
    shots: bool  # whether its provider has some
    question: str
    label_words: list[str] | None


def task_info(task: Task) -> TaskInfo:
    """The metadata of an opened task."""
    provider = task.provider
    return TaskInfo(
        modality=task.modality,
        source=task.source,
        classes=list(task.classes),
        head=provider.head,
        shots=provider.shots is not None,
        question=provider.question,
        label_words=None if provider.label_words is None else list(provider.label_words),
    )


class SavedTask(Task):
    """A task without its data, rebuilt from its metadata and the recorded provider."""

    def __init__(self, known: TaskInfo, content: bytes) -> None:
        self.modality, self.source, self.classes = known.modality, known.source, tuple(known.classes)
        words = None if known.label_words is None else tuple(known.label_words)
        shots = self.load_shots if known.shots else None
        self.provider: Provider = recording(Provider(self.classes, known.head, shots, known.question, words), content)

    def load(self, size: Size) -> TaskData:
        """Raises DataError, since the data are not stored."""
        raise DataError(f"the data of {self.source} are not here")

    def load_shots(self, size: Size) -> Dataset:
        """Raises DataError: the backend asks for shots that it did not take when the run began."""
        raise DataError(f"the run's folder holds no examples of {size}, and the task's are not here")

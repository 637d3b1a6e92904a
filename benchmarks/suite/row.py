"""One row of the suite, and the task that it stands for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from pydantic import PositiveInt

from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Task, TaskData
from fedbbpt.errors import ConfigError
from fedbbpt.types import ArrayView, Dataset, Int64, Size
from fedbbpt_benchmarks.pictures import Picture
from fedbbpt_benchmarks.suite import store
from fedbbpt_benchmarks.suite.store import TEST, TRAIN
from fedbbpt_benchmarks.texts import Text


@dataclass(frozen=True)
class Row:
    """What is published of a task. A row never changes once it is: a better one supersedes it."""

    title: str
    read: Callable[[], Iterable[Picture] | Iterable[Text]]
    classes: tuple[str, ...]  # examples of other classes are left out
    train: int  # examples to draw training and validation from, the provider's among them
    test: int
    dropped: int | None  # from the test: they look exactly like one for training; None: not counted yet
    group: str  # what is on one side only
    assets: tuple[str, ...]
    licence: str
    citation: str
    provider_row: str | None = None  # the row whose training side is the provider's; None: a few examples of this row
    head: str | None = None  # of the embedded model, fitted to the source
    superseded_by: str | None = None
    modality: Modality = "image"
    metric: str = "accuracy"
    provider_shots_per_class: int = 4  # examples per class
    question: str = "Category"  # what a class answers, for models that read and write language
    words: tuple[str, ...] | None = None  # for each class; None: their names
    note: str | None = None  # why a head on the embedded models' answers does not get above the majority class


class SuiteTask(Task):
    """A row of the suite as a task.

    `provider_shots_per_class` training examples of each class (None: as many as the row says) belong to the provider,
    who fits a head to them where the model has no classes of its own. The clients see neither these nor examples that
    share a key with them, unless nothing else is left of a class. Where the row names a `provider_row`, the provider
    holds that row's training examples instead, and the clients hold all of this row's.
    """

    name: str  # these are set by the subclass that stands for a row
    rows: Mapping[str, Row]

    def __init__(self, source: str | None, /, *, provider_shots_per_class: PositiveInt | None = None) -> None:
        if source is not None:
            raise ConfigError(f"the task {self.name!r} takes nothing after its name, got ':{source}'")
        self.classes = self.row.classes
        facts = ("title", "group", "licence", "citation", "dropped", "note", "superseded_by")
        self.metadata = {fact: str(value) for fact in facts if (value := getattr(self.row, fact)) is not None}
        self._provider_shots = provider_shots_per_class or self.row.provider_shots_per_class
        self.provider = Provider(
            self.classes, head=self.row.head, shots=self._shots, question=self.row.question, words=self.row.words
        )

    @property
    def row(self) -> Row:
        """What is published of the task."""
        return self.rows[self.name]

    def load(self, size: Size) -> TaskData:
        """See `Task`."""
        kept = store.prepare(self.name, self.row, size)
        train = kept.side(TRAIN) if self.row.provider_row else self._dealt(kept)[1]
        return TaskData(_dataset(kept, train), _dataset(kept, kept.side(TEST)))

    def _shots(self, size: Size) -> Dataset:
        if self.row.provider_row:
            kept = store.prepare(self.row.provider_row, self.rows[self.row.provider_row], size)
            return _dataset(kept, kept.side(TRAIN))
        kept = store.prepare(self.name, self.row, size)
        return _dataset(kept, self._dealt(kept)[0])

    def _dealt(self, kept: store.Kept) -> tuple[Int64, Int64]:
        """The provider's rows, and the clients' for training."""
        train = kept.side(TRAIN)
        order = sorted(train, key=lambda i: sha256(kept.keys[i].encode()).digest())
        shown: list[int] = []
        for label in range(len(self.classes)):
            shown += [i for i in order if kept.labels[i] == label][: self._provider_shots]
        known = {kept.keys[i] for i in shown}
        left = np.setdiff1d(train, shown)
        apart = np.array([kept.keys[i] not in known for i in left])
        taken = apart.copy()
        for label in range(len(self.classes)):
            of_class = kept.labels[left] == label
            if not (apart & of_class).any():
                taken |= of_class
        return np.array(shown), left[taken]


def _dataset(kept: store.Kept, rows: Int64) -> Dataset:
    domains = None if kept.domains is None else kept.domains[rows]
    names, groups = np.unique([kept.keys[i] for i in rows], return_inverse=True)
    shared = groups if len(names) < len(rows) else None
    inputs = ArrayView(kept.inputs, rows) if kept.inputs.dtype == np.uint8 else kept.inputs[rows]
    return Dataset(inputs, kept.labels[rows], domains=domains, groups=shared)


def task_class(name: str, rows: Mapping[str, Row]) -> type[SuiteTask]:
    """The class of a row's task."""
    facts = {"name": name, "rows": rows, "modality": rows[name].modality, "__doc__": f"{rows[name].title}."}
    return type(name, (SuiteTask,), {"__module__": __name__} | facts)

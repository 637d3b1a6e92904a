"""What is published of a task of the suite, and the task itself."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from pydantic import PositiveInt

from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Task, TaskData, TaskFacts
from fedbbpt.errors import ConfigError
from fedbbpt.types import ArrayView, Dataset, Int64, Size
from fedbbpt_benchmarks.images import ImageExample
from fedbbpt_benchmarks.suite import store
from fedbbpt_benchmarks.suite.store import TEST, TRAIN
from fedbbpt_benchmarks.texts import TextExample


@dataclass(frozen=True)
class TaskSpec:
    """What is published of a task. A published spec never changes; a better one supersedes it."""

    title: str
    read: Callable[[], Iterable[ImageExample] | Iterable[TextExample]]
    classes: tuple[str, ...]  # examples of other classes are left out
    train: int  # examples for training and validation, including the provider's
    test: int
    dropped: int | None  # test examples that look like a training example; None: not counted yet
    group: str  # what is never on both sides of the split
    assets: tuple[str, ...]
    licence: str
    citation: str
    provider_task: str | None = None  # the task whose training examples the provider holds; None: a few of this one's
    head: str | None = None  # of the embedded model, fitted to the provider's task
    superseded_by: str | None = None
    modality: Modality = "image"
    metric: str = "accuracy"
    provider_shots_per_class: int = 4
    question: str = "Category"  # that the classes answer, for language models
    words: tuple[str, ...] | None = None  # for each class, for language models; None: the names of the classes
    extra: str | None = None  # of fedbbpt's, which `read` needs
    note: str | None = None  # why a head on the embedded models' answers does not beat the majority class


class SuiteTask(Task):
    """A task of the suite.

    `provider_shots_per_class` training examples of each class (None: as many as the spec says) belong to the provider,
    who fits a head to them where the model has no classes of its own. The clients see neither these nor examples that
    share a key with them, unless nothing else is left of a class. If the spec names a `provider_task`, the provider
    holds that task's training examples instead, and the clients hold all of this one's.
    """

    name: str  # set by `task_class`, like `specs` and `modality`
    specs: Mapping[str, TaskSpec]

    @classmethod
    def facts(cls) -> TaskFacts:
        """See `Task`."""
        spec = cls.specs[cls.name]
        provided = cls.specs[spec.provider_task].assets if spec.provider_task else ()
        assets = tuple(dict.fromkeys((*spec.assets, *provided)))
        extra = "hub" if any(ASSETS[asset].kind == "hub" for asset in assets) else spec.extra
        return TaskFacts(spec.modality, len(spec.classes), spec.train, spec.test, spec.licence, assets, extra)

    def __init__(self, source: str | None, /, *, provider_shots_per_class: PositiveInt | None = None) -> None:
        if source is not None:
            raise ConfigError(f"the task {self.name!r} takes nothing after its name, got ':{source}'")
        spec = self.spec
        self.classes = spec.classes
        facts = ("title", "group", "licence", "citation", "dropped", "note", "superseded_by")
        self.metadata = {fact: str(value) for fact in facts if (value := getattr(spec, fact)) is not None}
        self._provider_shots = provider_shots_per_class or spec.provider_shots_per_class
        self.provider = Provider(
            self.classes, head=spec.head, shots=self._shots, question=spec.question, label_words=spec.words
        )

    @property
    def spec(self) -> TaskSpec:
        """What is published of the task."""
        return self.specs[self.name]

    def load(self, size: Size) -> TaskData:
        """See `Task`."""
        stored = store.prepare(self.name, self.spec, size)
        train = stored.rows(TRAIN) if self.spec.provider_task else self._divided(stored)[1]
        return TaskData(_dataset(stored, train), _dataset(stored, stored.rows(TEST)))

    def _shots(self, size: Size) -> Dataset:
        if self.spec.provider_task:
            stored = store.prepare(self.spec.provider_task, self.specs[self.spec.provider_task], size)
            return _dataset(stored, stored.rows(TRAIN))
        stored = store.prepare(self.name, self.spec, size)
        return _dataset(stored, self._divided(stored)[0])

    def _divided(self, stored: store.StoredTask) -> tuple[Int64, Int64]:
        """The training rows of the provider, and those of the clients."""
        train = stored.rows(TRAIN)
        order = sorted(train, key=lambda i: sha256(stored.keys[i].encode()).digest())
        provided: list[int] = []
        for label in range(len(self.classes)):
            provided += [i for i in order if stored.labels[i] == label][: self._provider_shots]
        known = {stored.keys[i] for i in provided}
        left = np.setdiff1d(train, provided)
        unseen = np.array([stored.keys[i] not in known for i in left])
        taken = unseen.copy()
        for label in range(len(self.classes)):
            of_class = stored.labels[left] == label
            if not (unseen & of_class).any():
                taken |= of_class
        return np.array(provided), left[taken]


def _dataset(stored: store.StoredTask, rows: Int64) -> Dataset:
    domains = None if stored.domains is None else stored.domains[rows]
    names, groups = np.unique([stored.keys[i] for i in rows], return_inverse=True)
    shared = groups if len(names) < len(rows) else None
    inputs = ArrayView(stored.inputs, rows) if stored.inputs.dtype == np.uint8 else stored.inputs[rows]
    return Dataset(inputs, stored.labels[rows], domains=domains, groups=shared)


def task_class(name: str, specs: Mapping[str, TaskSpec]) -> type[SuiteTask]:
    """The class of a task; `specs` also holds the one that its spec may name as `provider_task`."""
    facts = {"name": name, "specs": specs, "modality": specs[name].modality, "__doc__": f"{specs[name].title}."}
    return type(name, (SuiteTask,), {"__module__": __name__} | facts)  # type() alone would name the module of ABCMeta

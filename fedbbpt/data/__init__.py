"""Tasks: a data set with its classes, its split and the provider of its model."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from fedbbpt.backend import Modality, Provider
from fedbbpt.types import Dataset, Size

Subset = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class TaskData:
    """A task's examples before they are partitioned over clients."""

    train: Dataset
    test: Dataset
    validation: Dataset | None = None  # None: drawn from `train`
    provider_examples: int = 0  # how many the provider holds; they are not among the others
    user_supplied: bool = False  # a user's own data: the default number of clients depends on their amount
    sites: Mapping[str, "TaskData"] = field(default_factory=dict)  # by client, if each client has data of its own

    @property
    def validation_pool(self) -> Dataset:
        """Where validation examples are drawn from."""
        return self.train if self.validation is None else self.validation


class TaskFacts(NamedTuple):
    """What is known of a task before it is opened, and before anything is fetched; None: it depends on the source."""

    modality: Modality | None = None
    classes: int | None = None
    train: int | None = None  # examples for training and validation, with the provider's own
    test: int | None = None
    licence: str | None = None
    assets: Sequence[str] | None = ()  # names in the catalogue that the first use downloads; None: unknown
    extra: str | None = None  # of fedbbpt's optional dependencies


class Task(Protocol):
    """A data set that is partitioned over clients; classes derive from this one to inherit its defaults.

    The one positional argument of a task's class is what follows the colon in its name (`folder:PATH`), else None. Its
    keyword-only arguments are the task's options.
    """

    modality: Modality  # set on the class, unless it depends on the options (see `modality_of`)
    classes: tuple[str, ...]
    provider: Provider
    metadata: Mapping[str, str] = MappingProxyType({})  # on the data's origin: title, licence, citation, …
    source: str | None = None  # what follows the colon, made absolute, so that a run can be resumed from anywhere
    dirichlet_alpha: float = 0.3  # default concentration of the clients' labels; infinity: all clients alike
    extra: ClassVar[str | None] = None  # that has to be installed, if any
    remarks: Sequence[str] = ()  # a sentence on each change made while reading, for the user; complete after `load`

    @classmethod
    def resolve_options(cls, source: str | None, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options, with those filled in that follow from the source; called before the task is opened."""
        return options

    @classmethod
    def modality_of(cls, options: Mapping[str, Any]) -> Modality:
        """What a task with these (resolved) options holds; a run's defaults depend on it before the task is opened."""
        return cls.modality

    @classmethod
    def facts(cls) -> TaskFacts:
        """What `fedbbpt list tasks` shows; by default, what is set on the class."""
        classes = getattr(cls, "classes", None)
        count, licence = None if classes is None else len(classes), cls.metadata.get("licence")
        return TaskFacts(getattr(cls, "modality", None), count, licence=licence, extra=cls.extra)

    def load(self, size: Size) -> TaskData:
        """All examples; images as uint8 (N, 3, h, w) at `size` (h, w), texts if `size` is None."""


def hash_split(key: str | bytes) -> Literal["train", "test"]:
    """Splits public data that have no official split, half and half, by the SHA-256 of an example's key.

    Examples that must not be on both sides share a key.

    >>> [hash_split(f"digits/{i}") for i in range(4)]
    ['test', 'train', 'test', 'test']
    """
    data = key.encode() if isinstance(key, str) else key
    return "test" if int(hashlib.sha256(data).hexdigest()[:8], 16) % 2 else "train"

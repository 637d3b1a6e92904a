"""Tasks: a data set with its classes, its split and the provider that it belongs to."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fedbbpt.backend import Modality, Provider
from fedbbpt.types import Dataset, Size


@dataclass(frozen=True)
class Pool:
    """A task's data before it is dealt out to clients."""

    train: Dataset  # training examples are drawn from here, and validation examples unless they are given
    test: Dataset
    validation: Dataset | None = None
    provider: int = 0  # examples that the provider has beside these
    own: bool = False  # somebody's own data: how many clients there are follows from how much there is


class Task(Protocol):
    """A data set to be dealt out to clients.

    A task's class takes what follows the colon in its name (`folder:PATH`, else None) as its one positional argument
    and its own options by keyword.
    """

    modality: Modality  # of its examples; on the class, since it decides the defaults of a run
    argument: str | None  # as a resumed run in another folder must say it
    classes: tuple[str, ...]
    alpha: float  # default Dirichlet concentration of the clients' labels; inf = every client alike
    provider: Provider
    about: Mapping[str, str]  # what is known of its origin: title, licence, citation, …

    def load(self, size: Size) -> Pool:
        """All examples, images at the size (h, w) that the model wants."""


def remarks(task: Task) -> Sequence[str]:
    """What was done to a task's data as they were read, to be said aloud: blanks stripped, files skipped, and so on.

    A sentence each, in the task's attribute `remarks`, which it need not have; complete when the task is loaded.
    """
    known: Sequence[str] = getattr(task, "remarks", ())
    return known


def is_test(key: str | bytes) -> bool:
    """The split of public data that have no official one: a fair coin that depends on the key alone.

    Everything that must not be on both sides shares a key.
    """
    data = key.encode() if isinstance(key, str) else key
    return int(hashlib.sha256(data).hexdigest()[:8], 16) % 2 == 1

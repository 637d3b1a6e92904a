"""Names to classes, by entry point: what ships with fedbbpt and what others install are found the same way.

A package adds, say, a backend by declaring an entry point in the group `fedbbpt.backends`.
"""

import sys
from functools import cache
from importlib import metadata
from typing import Any

from fedbbpt.errors import UnknownName

KINDS = ("backends", "tasks", "prompts", "encoders", "readouts", "optimizers", "algorithms", "engines")


def names(kind: str) -> list[str]:
    """The sorted names of one kind; loads nothing."""
    if kind not in KINDS:
        raise UnknownName("kind", kind, KINDS)
    return sorted(_entries(kind, tuple(sys.path)))


def load(kind: str, name: str) -> Any:
    """The class behind a name.

    Raises:
        UnknownName: no installed package offers it.
    """
    if name not in (known := names(kind)):
        raise UnknownName(kind.removesuffix("s"), name, known)
    return _entries(kind, tuple(sys.path))[name].load()


@cache  # reading what every installed package declares takes milliseconds, and one config asks dozens of times
def _entries(kind: str, path: tuple[str, ...]) -> dict[str, metadata.EntryPoint]:
    """What the packages on the path declare."""
    return {entry.name: entry for entry in metadata.entry_points(group=f"fedbbpt.{kind}")}

"""Dry-run mode: all checks of a run are made, but nothing is downloaded or sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fedbbpt.errors import DataError, FedbbptError

_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)


class NotFetched(DataError):  # noqa: N818 - reads as what it says
    """A file is not on this machine, and a dry run does not download it."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(f"{what} is not on this machine, and a dry run fetches nothing: {how}")


@contextmanager
def dry_run_mode() -> Iterator[list[str]]:
    """Switches dry-run mode on; yields a list that collects what the actual run will still need."""
    notes: list[str] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def is_dry_run() -> bool:
    """Whether dry-run mode is on."""
    return _notes.get() is not None


def raise_unless_dry_run(error: FedbbptError) -> None:
    """Raises the error, or only notes it in dry-run mode."""
    if (notes := _notes.get()) is None:
        raise error
    if str(error) not in notes:
        notes.append(str(error))

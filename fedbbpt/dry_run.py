"""A dry run: everything is looked at that a run looks at before its first query, and nothing is fetched or sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fedbbpt.errors import DataError, FedbbptError

_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)


class NotFetched(DataError):  # noqa: N818 - reads as what it says
    """Something is not on this machine, and a dry run fetches nothing."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(f"{what} is not on this machine, and a dry run fetches nothing: {how}")


@contextmanager
def dry_run_mode() -> Iterator[list[str]]:
    """What is inside is a dry run; gives what the run itself will still need, a sentence each."""
    notes: list[str] = []
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def is_dry_run() -> bool:
    """Whether nothing may be fetched or sent now."""
    return _notes.get() is not None


def raise_unless_dry_run(error: FedbbptError) -> None:
    """Raises the error; a dry run, which can do without what is lacking, only notes it."""
    if (notes := _notes.get()) is None:
        raise error
    if str(error) not in notes:
        notes.append(str(error))

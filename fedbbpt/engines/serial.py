"""One client after the other, in this process."""

from collections.abc import Callable, Iterator, Sequence

from fedbbpt.engines import Lost, Reopen, T
from fedbbpt.types import Client


class Serial:
    """One client after the other, in this process."""

    elsewhere = False

    def __init__(self, reopen: Reopen | None = None, /) -> None:
        """Needs nothing: what it runs is here already."""

    def map(self, work: Callable[[Client], T], clients: Sequence[Client], lost: Lost | None = None) -> Iterator[T]:
        """See `Engine`; nobody gets lost here."""
        return map(work, clients)

    def close(self) -> None:
        """Nothing to end."""

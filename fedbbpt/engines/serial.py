"""One client after the other, in this process."""

from collections.abc import Callable, Iterator, Sequence

from fedbbpt.engines import T
from fedbbpt.types import Client


class Serial:
    """One client after the other, in this process."""

    def map(self, work: Callable[[Client], T], clients: Sequence[Client]) -> Iterator[T]:
        """See `Engine`."""
        return map(work, clients)

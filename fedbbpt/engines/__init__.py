"""Engines: who runs the clients' work."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from fedbbpt.algorithms import Algorithm
from fedbbpt.types import Client

T = TypeVar("T")
Reopen = Callable[[], tuple[Algorithm, Sequence[Client]]]  # a session's method and clients, in any process
Lost = Callable[[Client, str], None]  # told whose result is missing, and how that came


class Engine(Protocol):
    """Runs a function over clients.

    Takes a `Reopen`, which can be pickled, as its one positional argument, and its own options by keyword.
    """

    elsewhere: bool  # whether the clients work in other processes, which only those of `portable` methods can

    def map(self, work: Callable[[Client], T], clients: Sequence[Client], lost: Lost | None = None) -> Iterator[T]:
        """The results in the order of the clients, as they come.

        A client that is gone before it has a result is told to `lost`, and left out. Without `lost` no result is ever
        missing: what such a client was about is done once more, and has to be something that can be.

        Raises:
            BackendError: it was done once more, and is gone again.
        """

    def close(self) -> None:
        """Ends what it has started; a later `map` would start it again."""

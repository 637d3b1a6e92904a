"""Engines: who runs the clients' work."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from fedbbpt.types import Client

T = TypeVar("T")


class Engine(Protocol):
    """Runs a function over clients. Takes its own options by keyword."""

    def map(self, work: Callable[[Client], T], clients: Sequence[Client]) -> Iterator[T]:
        """The results in the order of the clients, as they come."""

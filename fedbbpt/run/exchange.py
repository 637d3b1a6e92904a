"""The line between server and clients, with a counter on it."""

from collections.abc import Callable, Sequence
from functools import partial

from fedbbpt.algorithms import R
from fedbbpt.engines import Engine
from fedbbpt.types import Client, Message, Usage


class CountedExchange:
    """Carries messages to the clients of a round and their replies back; counts the bytes of both, and all queries."""

    def __init__(self, engine: Engine, clients: Sequence[Client]) -> None:
        self._engine, self._clients = engine, clients
        self.bytes_up = self.bytes_down = 0
        self.usage = Usage()

    def __call__(self, work: Callable[[Message, Client], R], message: Message) -> list[R]:
        """See `Exchange`."""
        replies = list(self._engine.map(partial(work, message), self._clients))
        self.bytes_down += len(message.to_bytes()) * len(replies)
        for reply in replies:
            self.bytes_up += len(reply.to_bytes()) + reply.crossed.up
            self.bytes_down += reply.crossed.down
            self.usage += reply.usage
        return replies

"""The line between server and clients, with a counter on it."""

from collections.abc import Callable, Sequence
from functools import partial

from fedbbpt.algorithms import Algorithm, R
from fedbbpt.algorithms.sound import usable
from fedbbpt.engines import Engine
from fedbbpt.errors import BackendError
from fedbbpt.types import Client, Message, Usage


class CountedExchange:
    """Carries messages to the clients of a round and their replies back; counts the bytes of both, and all queries.

    `missing` says of each client that got lost on the way how that came (see `Engine.map`); the rest of the round goes
    without it. What it has asked and sent until then is not known, and not counted, and neither is its message.
    """

    def __init__(self, engine: Engine, clients: Sequence[Client]) -> None:
        self._engine, self._clients = engine, clients
        self.bytes_up = self.bytes_down = 0
        self.usage = Usage()
        self.missing: dict[str, str] = {}

    @property
    def present(self) -> list[Client]:
        """Those whose replies the last call gave, in their order."""
        return [client for client in self._clients if client.id not in self.missing]

    def __call__(self, work: Callable[[Message, Client], R], message: Message) -> list[R]:
        """See `Exchange`.

        Raises:
            BackendError: all clients got lost.
        """
        replies = list(self._engine.map(partial(work, message), self.present, self._lose))
        if self.missing and not replies:
            raise BackendError(
                f"all clients of round {message.round} died before they had an answer ({_ends(self.missing)}); the "
                "rounds before are not lost: continue with --resume"
            )
        self.bytes_down += len(message.to_bytes()) * len(replies)
        for reply in replies:
            self.bytes_up += len(reply.to_bytes()) + reply.traffic.up
            self.bytes_down += reply.traffic.down
            self.usage += reply.usage
        return replies

    def _lose(self, client: Client, how: str) -> None:
        self.missing[client.id] = how


class SoundExchange:
    """An exchange of an algorithm that hands on only what can be used of it.

    `out` says of each client that sent something else what it was: from then on nothing of it is used in this round.
    It is still told all that the others are, so that it can follow, and what it asks is counted.
    """

    def __init__(self, exchange: CountedExchange, algorithm: Algorithm) -> None:
        self._exchange, self._algorithm = exchange, algorithm
        self.out: dict[str, str] = {}

    def __call__(self, work: Callable[[Message, Client], R], message: Message) -> list[R]:
        """See `Exchange`.

        Raises:
            BackendError: all clients got lost, or nobody sent what can be used.
        """
        replies = self._exchange(work, message)
        return usable(replies, self._exchange.present, self._algorithm.blank(work, message), message, self.out)


def _ends(missing: dict[str, str]) -> str:
    return ", ".join(sorted(set(missing.values())))

"""Connects the server's half of an algorithm to the clients of a round; counts and checks everything sent."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedbbpt.algorithms import Algorithm, ClientSizes, ServerState
from fedbbpt.algorithms.reply_checks import usable
from fedbbpt.engines import TUNED, Call, Engine
from fedbbpt.errors import BackendError
from fedbbpt.types import Message, OutOfDate, Usage


class MeteredClientPool:
    """Sends messages to the clients of a round; counts exchanges, bytes and queries, and checks the replies.

    Messages of their own for each client hold what other clients have replied: they count as much for those who sent
    them, and the replies, of which they are made, do not count again. Where replies are flooded
    (`Algorithm.crossings`), each counts as often as it crosses a link, and messages, which all know, do not count.

    A client that is out of date gets the message of `Algorithm.catch_up` first, and then the message again.

    Attributes:
        exchanges: number of messages, each counted once for all clients.
        bytes_down, bytes_up: bytes of messages that reached a client, and of replies, both with the activations and
            gradients of a partitioned model.
        bytes_between: of these bytes, those that went from client to client.
        usage: the clients' queries.
        dropped: clients whose process ended, and how (see `Engine.send`). The round continues without them; their
            usage and bytes are unknown, and not counted.
        unusable: clients that sent an unusable reply, and why. The round continues without their replies; they still
            receive all messages, and their usage is counted.
    """

    def __init__(
        self,
        engine: Engine,
        algorithm: Algorithm,
        clients: Sequence[ClientSizes],
        state: ServerState,
        *,
        name: str = TUNED,
        may_drop: bool = True,
    ) -> None:
        self.engine, self._algorithm, self._name = engine, algorithm, name
        self._clients, self._state, self._may_drop = [client.id for client in clients], state, may_drop
        self.exchanges = self.bytes_up = self.bytes_down = self.bytes_between = 0
        self.usage = Usage()
        self.dropped: dict[str, str] = {}
        self.unusable: dict[str, str] = {}

    def send(self, handler: str, message: Message | Mapping[str, Message]) -> list[Any]:
        """See `algorithms.Send`.

        Raises:
            BackendError: all clients were dropped, or none sent a usable reply.
        """
        replies = self._exchange(handler, message, self._clients)
        outdated = [client for client, reply in replies.items() if isinstance(reply, OutOfDate)]
        if outdated and "catch_up" in self._algorithm.handlers:
            self._exchange("catch_up", self._algorithm.catch_up(self._state), outdated)
            replies |= self._exchange(handler, message, outdated)
            replies = {client: reply for client, reply in replies.items() if client not in self.dropped}
        one = _any(message)
        return usable(replies, self._algorithm.template(handler, one), one, self.unusable)

    def _exchange(
        self, handler: str, message: Message | Mapping[str, Message], clients: Sequence[str]
    ) -> dict[str, Any]:
        present = [client for client in clients if client not in self.dropped]
        if not isinstance(message, Message):
            present = [client for client in present if client in message]
            calls = [(message[client], [client]) for client in present]
        else:
            calls = [(message, present)]
        on_dropped = self.dropped.__setitem__ if self._may_drop else None
        sent = (self.engine.send(Call(handler, one, self._name), to, on_dropped) for one, to in calls)
        replies = [reply for answered in sent for reply in answered]
        if len(self.dropped) == len(self._clients):
            how = ", ".join(sorted(set(self.dropped.values())))
            raise BackendError(
                f"all clients of round {_any(message).round} dropped out before they replied ({how}); the rounds "
                "before are not lost: continue with --resume"
            )
        self.exchanges += 1
        left = [client for client in present if client not in self.dropped]
        by_client = dict(zip(left, replies, strict=True))
        self._count(by_client, message)
        return by_client

    def _count(self, replies: Mapping[str, Any], message: Message | Mapping[str, Message]) -> None:
        crossings = self._algorithm.crossings
        if isinstance(message, Message) and crossings is None:
            self.bytes_down += len(message.to_bytes()) * len(replies)
        for client, reply in replies.items():
            if not isinstance(message, Message):
                self._between(len(message[client].to_bytes()))
            elif crossings is not None:
                self._between(len(reply.to_bytes()) * int(crossings[self._clients.index(client)]))
            else:
                self.bytes_up += len(reply.to_bytes()) + reply.traffic.up
                self.bytes_down += reply.traffic.down
            self.usage += reply.usage

    def _between(self, size: int) -> None:
        """Counts bytes that went from client to client."""
        self.bytes_between += size
        self.bytes_up += size
        self.bytes_down += size


def _any(message: Message | Mapping[str, Message]) -> Message:
    """The message, or one of those to single clients, which have the same form."""
    return message if isinstance(message, Message) else next(iter(message.values()))

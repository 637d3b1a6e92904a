"""Connects the server's half of an algorithm to the clients of a round; counts and checks everything sent."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedbbpt.algorithms import Algorithm, ClientSizes, ServerState
from fedbbpt.algorithms.letters import LETTER, asked_of_senders, asking, senders_of
from fedbbpt.algorithms.reply_checks import usable
from fedbbpt.engines import TUNED, Call, Engine
from fedbbpt.errors import BackendError
from fedbbpt.types import Message, OutOfDate, Update, Usage


class MeteredClientPool:
    """Sends messages to the clients of a round; counts exchanges, bytes and queries, and checks the replies.

    Letters count where they are sent and where they arrive. Where replies are flooded (`Algorithm.crossings`), each
    counts as often as it crosses a link, and messages, which all know, do not count.

    A client that is out of date gets the message of `Algorithm.catch_up` first, with its neighbours' letters where
    there are some, and then the message again.

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
        lost: links (receiver, sender) over which no letter came, or none that could be used, and why.
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
        self.lost: dict[tuple[str, str], str] = {}

    def send(self, handler: str, message: Message | Mapping[str, Message]) -> list[Any]:
        """See `algorithms.Send`.

        Raises:
            BackendError: all clients were dropped, or none sent a usable reply.
        """
        if handler == LETTER:
            assert not isinstance(message, Message)  # it says whose letters each client takes
            return self._take_letters(message)
        replies = self._exchange(handler, message, self._clients)
        outdated = [client for client, reply in replies.items() if isinstance(reply, OutOfDate)]
        if outdated and "catch_up" in self._algorithm.handlers:
            self._catch_up(outdated, list(replies))
            replies |= self._exchange(handler, message, outdated)
            replies = {client: reply for client, reply in replies.items() if client not in self.dropped}
        one = _any(message)
        return usable(replies, self._algorithm.template(handler, one), one, self.unusable)

    def _catch_up(self, outdated: Sequence[str], present: Sequence[str]) -> None:
        message, neighbours = self._algorithm.catch_up(self._state), self._algorithm.neighbours(self._state, present)
        if neighbours:
            self._take_letters({client: asking(message, neighbours[client]) for client in outdated})
        self._exchange("catch_up", message, outdated)

    def _take_letters(self, asked: Mapping[str, Message]) -> list[Any]:
        """Has clients write to each other; returns what each of them received."""
        asked = {client: one for client, one in asked.items() if client not in self.dropped}
        senders = {
            client: [name for name in senders_of(one) if name not in self.dropped] for client, one in asked.items()
        }
        call = Call(LETTER, asked_of_senders(_any(asked)), self._name)
        template = self._algorithm.template(LETTER, _any(asked))
        assert isinstance(template, Update)
        received = {one.client: one for one in self.engine.take_letters(call, senders, template)}
        self.exchanges += 1
        self._count(received, asked)
        self.bytes_between += sum(one.traffic.down for one in received.values())
        for client, one in received.items():
            self.lost |= {(client, sender): why for sender, why in one.missing.items()}
        return list(received.values())

    def _exchange(
        self, handler: str, message: Message | Mapping[str, Message], clients: Sequence[str]
    ) -> dict[str, Any]:
        told = clients if isinstance(message, Message) else [client for client in clients if client in message]
        present = [client for client in told if client not in self.dropped]
        on_dropped = self.dropped.__setitem__ if self._may_drop else None
        replies = list(self.engine.send(Call(handler, message, self._name), present, on_dropped))
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
        down = len(message.to_bytes()) if isinstance(message, Message) else 0  # once for all clients
        for client, reply in replies.items():
            up = len(reply.to_bytes())
            if crossings is not None:
                between = up * int(crossings[self._clients.index(client)])
                self.bytes_between += between
                self.bytes_up += between
                self.bytes_down += between
            else:
                self.bytes_up += up + reply.traffic.up
                sent = down if isinstance(message, Message) else len(message[client].to_bytes())
                self.bytes_down += sent + reply.traffic.down
            self.usage += reply.usage


def _any(message: Message | Mapping[str, Message]) -> Message:
    """The message, or one of those to single clients, which have the same form."""
    return message if isinstance(message, Message) else next(iter(message.values()))

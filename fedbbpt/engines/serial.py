"""Runs one client after the other in this process."""

from collections.abc import Iterator, Sequence
from typing import Any

from fedbbpt.algorithms import ClientReply
from fedbbpt.engines import Call, ClientHost, Engine, HostFactory, Memories, OnDropped
from fedbbpt.engines.letters import Senders, pass_on
from fedbbpt.types import Received, Update


class Serial(Engine):
    """Runs one client after the other in this process."""

    def __init__(self, hosts: HostFactory, memories: Memories, /) -> None:
        self._hosts, self._memories = hosts, memories
        self._shared: dict[str, Any] = {}

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """See `Engine`; no client is ever dropped."""
        host = self._hosts.here()
        return (self._answer(host, call, client) for client in clients)

    def take_letters(self, call: Call, senders: Senders, template: Update) -> Iterator[Received]:
        """See `Engine`."""
        return pass_on(self, self._memories, call, senders, template)

    def _answer(self, host: ClientHost, call: Call, client: str) -> ClientReply:
        listener, told = self.on_queries, 0

        def tell(queries: int) -> None:
            nonlocal told
            told += queries
            if listener is not None:
                listener(queries)

        reply = host.answer(call, client, self._memories[client], self._shared, tell)
        if listener is not None and (left := reply.usage.queries - told):  # no meter counts what a split model is asked
            tell(left)
        return reply

    def close(self) -> None:
        """Does nothing: there are no processes to end."""

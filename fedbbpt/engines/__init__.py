"""Engines run the clients' half of an algorithm."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from fedbbpt.algorithms import Algorithm, ClientContext, ClientMemory, ClientReply, OutOfDateError
from fedbbpt.backend import OnQueries
from fedbbpt.objective import Objective
from fedbbpt.types import Client, Message, OutOfDate, Received, Update

TUNED, BASELINE = "tuned", "baseline"  # the names of a run's algorithms, see `ClientHost`
OnDropped = Callable[[str, str], None]  # called with the dropped client and how its process ended


class Call(NamedTuple):
    """A message for a handler of an algorithm, both by name; or one for each client."""

    handler: str
    message: Message | Mapping[str, Message]
    algorithm: str = TUNED

    def to(self, client: str) -> Message:
        """The message that a client gets."""
        return self.message if isinstance(self.message, Message) else self.message[client]


@dataclass(frozen=True)
class ClientHost:
    """The clients' half of a run in one process: the algorithms with their objectives, and the clients' data."""

    algorithms: Mapping[str, tuple[Algorithm, Objective]]
    clients: Mapping[str, Client]

    def answer(
        self,
        call: Call,
        client: str,
        memory: ClientMemory,
        shared: dict[str, Any] | None = None,
        on_queries: OnQueries | None = None,
    ) -> ClientReply:
        """Runs a call for a client; returns its reply, and changes its memory.

        `shared` and `on_queries` are those of `ClientContext`.
        """
        algorithm, objective = self.algorithms[call.algorithm]
        shared = {} if shared is None else shared
        ctx = ClientContext(self.clients[client], objective, memory, call.algorithm, shared, on_queries)
        try:
            return algorithm.handlers[call.handler](call.to(client), ctx)
        except OutOfDateError:
            return OutOfDate(client)


class HostFactory(Protocol):
    """Provides the clients' half: the one of this process, and a way to open one in another process."""

    def here(self) -> ClientHost:
        """The host of this process."""
        ...

    @property
    def opener(self) -> Callable[[], ClientHost]:
        """A picklable function that opens the same host in any process."""
        ...


Memories = Mapping[str, ClientMemory]  # by client


class Engine(Protocol):
    """The base class of all engines, which run calls for clients.

    The constructor of an engine that `simulates` takes a `HostFactory` and the clients' memories as positional
    arguments, and the options by keyword.
    Replies have the same bits on every engine, whichever process serves which client.

    Attributes:
        on_queries: what an engine calls, if it is set, with the number of a client's queries: as they are answered, or
            all of them with the client's reply.
    """

    on_queries: OnQueries | None = None

    extra: ClassVar[str | None] = None  # of fedbbpt's optional dependencies, that has to be installed, if any
    simulates: ClassVar[bool] = True  # whether the clients and their data are on this machine
    out_of_process: ClassVar[bool] = False  # whether clients run in processes that share nothing with this one
    partial_scores: ClassVar[bool] = False  # whether scores, too, may miss a client, since nobody else has its data

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """Returns the clients' replies, in the order of the clients.

        If a client's process ends before it replies, `on_dropped` is called, and the client is left out. Without
        `on_dropped` no reply is ever missing: the call is retried once, so the handler must be idempotent.

        Raises:
            BackendError: without `on_dropped`, a client's process ended twice.
        """
        ...

    def take_letters(self, call: Call, senders: Mapping[str, Sequence[str]], template: Update) -> Iterator[Received]:
        """Has clients write to each other: each receiver remembers the replies of its senders to the call.

        Args:
            call: to the handler that writes a letter.
            senders: by receiver.
            template: of a letter; others, and those that are not finite, are not remembered.

        Returns what each receiver has got, in the order of `senders`, without those whose process ended.
        """
        ...

    def close(self) -> None:
        """Ends the engine's processes; a later `send` starts them again."""
        ...

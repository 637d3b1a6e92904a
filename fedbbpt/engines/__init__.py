"""Engines: who runs the clients' half of an algorithm."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from fedbbpt.algorithms import Algorithm, ClientContext, ClientMemory, ClientReply, OutOfDateError
from fedbbpt.objective import Objective
from fedbbpt.types import Client, Message, OutOfDate

TUNED, BASELINE = "tuned", "baseline"  # the algorithms of a run, see `ClientHost`
OnDropped = Callable[[str, str], None]  # told which client is gone, and how


class Call(NamedTuple):
    """One exchange: a handler of an algorithm, by their names, and the message for it."""

    handler: str
    message: Message
    algorithm: str = TUNED


@dataclass(frozen=True)
class ClientHost:
    """The clients' half of a run in one process: its algorithms, each with its own objective, and the clients' data."""

    algorithms: Mapping[str, tuple[Algorithm, Objective]]
    clients: Mapping[str, Client]

    def answer(
        self, call: Call, client: str, memory: ClientMemory, shared: dict[str, Any] | None = None
    ) -> ClientReply:
        """A client's reply to a call; the client's memory changes with it.

        `shared` is where clients of one process leave results of pure functions for each other.
        """
        algorithm, objective = self.algorithms[call.algorithm]
        ctx = ClientContext(self.clients[client], objective, memory, call.algorithm, {} if shared is None else shared)
        try:
            return algorithm.handlers[call.handler](call.message, ctx)
        except OutOfDateError:
            return OutOfDate(client)


class HostFactory(Protocol):
    """Where clients' halves come from: the one of this process, and how another process opens its own."""

    def here(self) -> ClientHost:
        """The host of this process."""
        ...

    @property
    def opener(self) -> Callable[[], ClientHost]:
        """Opens the same host in any process; can be pickled."""
        ...


Memories = Mapping[str, ClientMemory]  # by client


class Engine(Protocol):
    """Runs a call for each of several clients; others' engines derive from this class.

    An engine takes a `HostFactory` and the clients' memories as its positional arguments, and its options by keyword.
    Replies are the same bits on every engine, whichever process serves which client.
    """

    out_of_process: ClassVar[bool] = False  # whether clients run in processes that share nothing with this one

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """The clients' replies, in the order of the clients.

        A client that is gone before it has replied is told to `on_dropped`, and left out. Without `on_dropped` no reply
        is ever missing: the call is retried once, so the handler must be idempotent.

        Raises:
            BackendError: the client was gone the second time, too.
        """
        ...

    def close(self) -> None:
        """Ends what the engine has started; a later `send` starts it again."""
        ...

"""Federated methods: who is told what, what a client does with it, and what becomes of the answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeVar

from fedbbpt.objective import Objective
from fedbbpt.optim import Optimizer, OptimizerStart
from fedbbpt.types import Client, Float32, Message, Parameters, Score, Traffic, Usage

MakeOptimizer = Callable[[OptimizerStart], Optimizer]


class Reply(Protocol):
    """What a client answers to a message."""

    @property
    def usage(self) -> Usage:
        """What was asked of the model for it."""

    @property
    def traffic(self) -> Traffic:
        """What passed between client and server for it, beside the message and itself."""

    def to_bytes(self) -> bytes:
        """As it travels."""


R = TypeVar("R", bound=Reply)


class Exchange(Protocol):
    """The line to the clients of a round: one message to each, one reply from each, in the order of the clients.

    Of a `portable` method, those of clients that died may be missing.
    """

    def __call__(self, work: Callable[[Message, Client], R], message: Message) -> list[R]:
        """What `work` makes of the message at every client. Bytes and queries are counted on the way."""


class Parts(NamedTuple):
    """What every method is built of."""

    objective: Objective
    optimizer: MakeOptimizer
    seed: int


@dataclass(frozen=True)
class State:
    """What is known between two rounds: plain arrays."""

    round: int  # rounds done
    parameters: Parameters  # what the clients are told
    memory: Mapping[str, Float32] = field(default_factory=dict)  # what server or clients keep to themselves


Keeps = Literal["lowest", "latest"]  # of lowest validation loss; or the last where that is not above the start's


class Algorithm(Protocol):
    """A federated method. Between two rounds, all that changes is in the `State`.

    A method's class takes the `Parts` as its one positional argument and its own options by keyword. With `portable`,
    what a client does depends on the message and its own data alone, and may be done by another process. A static
    method `resolved`, of options and the backend, gives the options with what was left to this machine ("auto"). A
    tuple `addresses` names options that are addresses: a run that goes on may have others there.
    """

    federated: bool  # whether messages travel and the clients share parameters
    keeps: Keeps  # which round's parameters a run ends with
    settled: int  # the round from which on `plan` and `views` stay as they are

    def init(self) -> State:
        """The state before the first round."""

    def sample(self, state: State, clients: Sequence[Client]) -> list[Client]:
        """Who takes part in the next round, in the order of `clients`; as many in every round."""

    def broadcast(self, state: State) -> Message:
        """The current parameters, as they are told to clients."""

    def round(self, state: State, exchange: Exchange) -> tuple[State, float]:
        """A round with the clients at the other end of the exchange: the new state and the mean training loss.

        The loss is NaN where the model answered nothing.
        """

    def blank(self, work: Callable[..., Reply], message: Message) -> Reply:
        """What a client without data would reply to the message by `work`: what an exchange is given, or `score`.

        All other replies have its form; NaN stands in those of its arrays in which theirs may have some.
        """

    def score(self, split: str, message: Message, client: Client) -> Score:
        """How the message's parameters do on a client's split ("validation" or "test")."""

    def plan(self, client: Client, round_: int) -> Usage:
        """Exactly what a round (counted from 1) will ask of the model for this client, without asking."""

    def views(self, round_: int) -> int:
        """How often `score` asks about each example after so many rounds."""

"""Federated algorithms in two halves: what the server does with its state, and what a client does with a message."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms.client import ClientContext, ClientMemory
from fedbbpt.backend import Backend
from fedbbpt.objective import PromptedModel
from fedbbpt.optim import Optimizer, OptimizerStart
from fedbbpt.types import Float32, Message, Parameters, Traffic, Usage

__all__ = [
    "Algorithm",
    "AlgorithmContext",
    "ClientContext",
    "ClientMemory",
    "ClientReply",
    "ClientSizes",
    "Handler",
    "ModelSelection",
    "OutOfDateError",
    "RoundReport",
    "Send",
    "ServerState",
]

MakeOptimizer = Callable[[OptimizerStart], Optimizer]
ModelSelection = Literal["best", "last"]  # of lowest validation loss; or the last that is not above the start's


class ClientReply(Protocol):
    """What a client answers to a message."""

    @property
    def usage(self) -> Usage:
        """What was asked of the model for it."""

    @property
    def traffic(self) -> Traffic:
        """What passed between client and server for it, beside the message and itself."""

    def to_bytes(self) -> bytes:
        """As it travels."""


Handler = Callable[[Message, ClientContext], ClientReply]
# A handler's name and a message; the replies in the clients' order, without those of clients that are gone. Whoever
# implements it answers an `OutOfDate` with `Algorithm.catch_up`, counts bytes and queries, and checks the replies.
Send = Callable[[str, Message], list[Any]]


class OutOfDateError(Exception):
    """Raised by a handler whose client cannot follow the message; the server hears of it as an `OutOfDate` reply."""


class ClientSizes(NamedTuple):
    """What the server knows of a client: its name, and how many examples it holds."""

    id: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class AlgorithmContext:
    """What every algorithm is built from, at the server and at the clients alike."""

    model: PromptedModel
    optimizer: MakeOptimizer
    seed: int
    backend: Backend | None = None  # the model itself, for white-box algorithms; None where this process has none


@dataclass(frozen=True)
class ServerState:
    """All that the server knows between two rounds, as plain arrays."""

    round: int  # rounds done
    parameters: Parameters  # what clients are told, and what is evaluated
    opt_state: Mapping[str, Float32] = field(default_factory=dict)  # what the server keeps to itself

    def to_arrays(self, prefix: str = "") -> dict[str, NDArray[Any]]:
        """As arrays by name: `prefix` + "round", "parameters/…", "opt_state/…"."""
        parts = {"parameters/": self.parameters, "opt_state/": self.opt_state}
        named = {prefix + part + name: array for part, arrays in parts.items() for name, array in arrays.items()}
        return {prefix + "round": np.array([self.round])} | named

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> "ServerState | None":
        """Inverse of `to_arrays`, from arrays that may hold others, too; None if there is no such state."""

        def part(name: str) -> dict[str, NDArray[Any]]:
            start = prefix + name
            return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}

        if prefix + "round" not in arrays:
            return None
        return cls(int(arrays[prefix + "round"][0]), part("parameters/"), part("opt_state/"))


class RoundReport(NamedTuple):
    """What a round says of itself."""

    loss: float  # mean training loss, nats; NaN where the model answered nothing


class Algorithm(Protocol):
    """A federated algorithm; others' derive from this class.

    The class takes an `AlgorithmContext` as its one positional argument and its options by keyword. After construction
    an object never changes: what the server knows is in the `ServerState`, what a client knows in its `ClientContext`.
    So either half may run in any process, with an object of its own.
    """

    access: Literal["black-box", "white-box"] = "black-box"  # whether the model is queried, or partitioned
    shares_parameters: bool = True  # whether clients share parameters, and messages travel
    model_selection: ModelSelection = "best"  # which round's parameters a run ends with
    addresses: tuple[str, ...] = ()  # options that name places: a resumed run may have others there

    @classmethod
    def resolve_options(cls, options: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
        """The options with what was left to this machine ("auto") made explicit."""
        return dict(options)

    # The server's half.

    def init(self) -> ServerState:
        """The state before the first round."""
        ...

    def sample(self, state: ServerState, clients: Sequence[ClientSizes]) -> list[ClientSizes]:
        """Who takes part in the next round, in the order of `clients`; equally many in every round."""
        ...

    def broadcast(self, state: ServerState) -> Message:
        """The current parameters, as clients are told them."""
        ...

    def catch_up(self, state: ServerState) -> Message:
        """What the handler "catch_up" needs to follow `broadcast(state)`, whatever the client remembers."""
        return self.broadcast(state)

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """One round, in as many exchanges as it needs."""
        ...

    def template(self, handler: str, message: Message) -> ClientReply:
        """What a client without data would reply: all replies have its form, and NaN only where it has NaN."""
        ...

    # The clients' half.

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What a client can be asked to do, by name. All have "train" and "evaluate".

        "evaluate" replies with a `Score` of `message.subset`. "catch_up" brings a client that raised `OutOfDateError`
        to where the others are. "select", where clients keep parameters of their own, tells them that those of the
        round before are the best so far.
        """
        ...

    # What it costs, without asking.

    @property
    def is_queryable(self) -> bool:
        """Whether the clients' backend can still be queried as a whole; not where a server holds a part of it."""
        return True

    @property
    def settled_round(self) -> int:
        """The round from which on `expected_usage` and `prompts_per_input` stay as they are."""
        return 1

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """Exactly what a round (counted from 1) will ask of the model for this client.

        Inputs as they are, without a prompt, are asked about once in a run, and are not counted here.
        """
        ...

    def prompts_per_input(self, round_: int) -> int:
        """How many queries each evaluated input takes after so many rounds."""
        return 1

    def parameter_counts(self, rounds: int) -> dict[str, int]:
        """How many numbers a run of so many rounds trains, as {"prompt": …, "readout": …}."""
        ...

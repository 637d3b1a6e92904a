"""Federated algorithms in two halves: the server advances its state, and clients handle its messages."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms.client import ClientContext, ClientMemory
from fedbbpt.backend import Backend
from fedbbpt.objective import PromptedModel
from fedbbpt.optim import Optimizer, OptimizerStart
from fedbbpt.types import Message, Parameters, Traffic, Usage

__all__ = [
    "Algorithm",
    "AlgorithmContext",
    "ClientContext",
    "ClientMemory",
    "ClientReply",
    "ClientSizes",
    "CrossValidated",
    "Handler",
    "ModelSelection",
    "OutOfDateError",
    "RoundReport",
    "Send",
    "ServerState",
]

MakeOptimizer = Callable[[OptimizerStart], Optimizer]
# "best": the round of lowest validation loss; "last": the last round whose loss is not above that of the start. Where a
# round's readout is cross-validated, the last round that shows a gain over the start.
ModelSelection = Literal["best", "last"]


class ClientReply(Protocol):
    """A client's reply to a message."""

    @property
    def usage(self) -> Usage:
        """The queries that the client made for this reply."""

    @property
    def traffic(self) -> Traffic:
        """Bytes exchanged for this reply, besides the message and the reply themselves."""

    def to_bytes(self) -> bytes:
        """The reply as it is sent."""


Handler = Callable[[Message, ClientContext], ClientReply]
# Sends a message to the handler of this name at every client, or to each of some clients its own; returns the replies
# in the clients' order, without those of dropped clients. An implementation answers `OutOfDate` with
# `Algorithm.catch_up`, counts bytes and queries, and checks the replies. The handler `LETTER` writes to other clients:
# each of some clients is told whose letters it is to take (`letters.asking`), and replies with `Received`.
Send = Callable[[str, Message | Mapping[str, Message]], list[Any]]


class OutOfDateError(Exception):
    """Raised by a handler if the client lacks the state that the message builds on; sent as an `OutOfDate` reply."""


class ClientSizes(NamedTuple):
    """What the server knows about a client: its name and its numbers of examples."""

    id: str
    train: int
    validation: int
    test: int


def always(_: int) -> bool:
    """After each round."""
    return True


@dataclass(frozen=True)
class AlgorithmContext:
    """The first argument of every algorithm, the same at the server and at the clients."""

    model: PromptedModel
    optimizer: MakeOptimizer
    seed: int
    backend: Backend | None = None  # for white-box algorithms; None if this process has no model
    clients: int = 1  # of the whole run
    is_evaluated: Callable[[int], bool] = always  # whether a round's parameters are scored


@dataclass(frozen=True)
class ServerState:
    """The server's whole state between two rounds, as plain arrays."""

    round: int  # rounds done
    parameters: Parameters  # broadcast to the clients and evaluated
    opt_state: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # never sent to clients, except by `catch_up`

    def to_arrays(self, prefix: str = "") -> dict[str, NDArray[Any]]:
        """Arrays by name: `prefix` + "round", "parameters/…" and "opt_state/…"."""
        parts = {"parameters/": self.parameters, "opt_state/": self.opt_state}
        named = {prefix + part + name: array for part, arrays in parts.items() for name, array in arrays.items()}
        return {prefix + "round": np.array([self.round])} | named

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> "ServerState | None":
        """Inverse of `to_arrays`; ignores other arrays, and returns None if there is no state under this prefix."""

        def part(name: str) -> dict[str, NDArray[Any]]:
            start = prefix + name
            return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}

        if prefix + "round" not in arrays:
            return None
        return cls(int(arrays[prefix + "round"][0]), part("parameters/"), part("opt_state/"))


class CrossValidated(NamedTuple):
    """How a readout read the training examples that it was not fitted to, beside an untrained one."""

    examples: int
    gained: int  # read rightly by the fitted readout alone
    lost: int  # read rightly by the untrained one alone

    def shows_gain(self, examples: int, gain: int, least: float) -> bool:
        """Whether the fitted readout is more often right, with the gain on as many validation examples added.

        `least` is by how much, in standard errors of the number of examples, if each sign were equally likely.
        """
        differing = (self.gained + self.lost) * (1 + examples / max(1, self.examples))
        return self.gained - self.lost + gain >= least * math.sqrt(differing)


class RoundReport(NamedTuple):
    """The figures of a round."""

    loss: float  # mean training loss, nats; NaN if every query failed
    cross_validated: CrossValidated | None = None  # of the readout that it fitted; None if that was not done
    consensus_distance: float | None = None  # of nodes without a server: root mean square distance to their mean
    left_out: Mapping[str, str] = {}  # nodes without whose replies the others went on, and why, as "it …"
    lost: Mapping[tuple[str, str], str] = {}  # links (receiver, sender) of which a letter was refused, and why


class Algorithm(Protocol):
    """The base class of all federated algorithms.

    The constructor takes an `AlgorithmContext` as its only positional argument, and the options by keyword. An
    algorithm object never changes after construction: the server's knowledge is in the `ServerState`, a client's in its
    `ClientContext`. So either half can run in any process, on its own copy of the object.
    """

    access: Literal["black-box", "white-box"] = "black-box"  # whether the model is queried or partitioned
    shares_parameters: bool = True  # False: each client trains its own, and nothing is sent
    has_server: bool = True  # False: clients talk to each other
    is_decentralised: bool = False  # whether each client has parameters of its own, which it averages with neighbours
    model_selection: ModelSelection = "best"  # which round's parameters are tested
    addresses: tuple[str, ...] = ()  # options that hold URLs: a resumed run may change them

    @classmethod
    def resolve_options(cls, options: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
        """The options, with every "auto" replaced by what this machine chooses."""
        return dict(options)

    # The server's half.

    def init(self) -> ServerState:
        """The state before the first round."""
        ...

    def sample(self, state: ServerState, clients: Sequence[ClientSizes]) -> list[ClientSizes]:
        """The participants of the next round, in the order of `clients`; the same number in every round."""
        ...

    def broadcast(self, state: ServerState) -> Message:
        """The message that carries the current parameters to the clients."""
        ...

    def catch_up(self, state: ServerState) -> Message:
        """The message for the handler "catch_up": after it, any client can handle `broadcast(state)`."""
        return self.broadcast(state)

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """Runs one round, with as many calls of `send` as it needs; returns the next state."""
        ...

    def result(self, state: ServerState, send: Send) -> Parameters:
        """The parameters with which a run ends at this state; where the clients keep them, it asks for them once."""
        return state.parameters

    def neighbours(self, state: ServerState, clients: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Whose letters each of these clients takes in the next round, where there are some."""
        return {}

    def template(self, handler: str, message: Message) -> ClientReply:
        """The reply of a client without data; others have its names, shapes and dtypes, and NaN only where it does."""
        ...

    # The clients' half.

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The clients' handlers by name; every algorithm has "train" and "evaluate".

        "evaluate" replies with a `Score` on `message.subset`. "catch_up" gives a client that raised `OutOfDateError`
        the state that it lacks. "select", of algorithms whose clients train their own parameters, marks those of the
        last round as the best so far. So it does where clients keep parameters that they have in common.
        """
        ...

    # The cost, computed without queries.

    @property
    def is_queryable(self) -> bool:
        """Whether clients can query the whole model; False if a server holds a part of it."""
        return True

    @property
    def settled_round(self) -> int:
        """The first round from which `expected_usage`, `prompts_per_input` and `most_exchanges` are constant."""
        return 1

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """The exact usage of this client in a round, counted from 1.

        Unprompted inputs are queried once in a run, and are not counted here.
        """
        ...

    def sharpness_usage(self, client: ClientSizes) -> Usage:
        """The exact usage of this client for the handler "sharpness", which is called once, after the test scores."""
        return Usage()

    def prompts_per_input(self, round_: int) -> int:
        """The number of queries per evaluated input after this many rounds."""
        return 1

    def most_exchanges(self, round_: int) -> int:
        """The most exchanges of a round, counted from 1, without evaluations; 0 where nothing is sent.

        Clients that have lost what they remember take two more: one to catch up, and the message once again.
        """
        return 1

    def parameter_counts(self, rounds: int) -> dict[str, int]:
        """The numbers of parameters trained in this many rounds, as {"prompt": …, "readout": …}."""
        ...

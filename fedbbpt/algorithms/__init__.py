"""Federated methods: who is told what, what a client does with it, and what becomes of the answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from fedbbpt.objective import Objective
from fedbbpt.optim import Optimizer
from fedbbpt.types import Client, Message, Parameters, Score, Update, Usage

MakeOptimizer = Callable[[Any, np.random.Generator, int], Optimizer]  # start, generator, steps before


class Parts(NamedTuple):
    """What every zero-order method is built of."""

    objective: Objective
    optimizer: MakeOptimizer
    seed: int


@dataclass(frozen=True)
class State:
    """What the method knows between two rounds: plain arrays."""

    round: int  # rounds done
    parameters: Parameters


class Algorithm(Protocol):
    """A federated method. Holds settings only: all that changes is in the `State`.

    A method's class takes the `Parts` as its one positional argument and its own options by keyword.
    """

    federated: bool  # whether messages travel and the clients share parameters

    def init(self) -> State:
        """The state before the first round."""

    def sample(self, state: State, clients: Sequence[Client]) -> list[Client]:
        """Who takes part in the next round, in the order of `clients`."""

    def broadcast(self, state: State) -> Message:
        """All that the clients of the next round are told."""

    def local(self, message: Message, client: Client) -> Update:
        """A client's round; sees this client only."""

    def merge(self, state: State, updates: Sequence[Update]) -> State:
        """The state after the round; the updates come in the order of the clients."""

    def score(self, split: str, message: Message, client: Client) -> Score:
        """How the message's parameters do on a client's split ("validation" or "test")."""

    def plan(self, client: Client) -> Usage:
        """Exactly what `local` will ask of the model, without asking."""

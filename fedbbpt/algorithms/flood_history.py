"""What all nodes of a flood have said in all rounds so far. Who comes late can play it, and has the others' state.

A node keeps it as long as it takes fewer bytes than the state: with a large prompt, a few losses of each node are less
than its parameters for many rounds (SeedFlood: arXiv 2602.18181).
"""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ServerState
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.flood_log import Bytes, Outcome, digest, packed_state, play
from fedbbpt.errors import FedbbptError
from fedbbpt.types import wire

HISTORY = "history"  # in what a node remembers

Rounds = Sequence[Sequence[Bytes]]  # the closed exchanges of each round, as `play` takes them


def begin(memory: MutableMapping[str, NDArray[Any]]) -> None:
    """No round is over."""
    memory[HISTORY] = packed_rounds([])


def add(memory: MutableMapping[str, NDArray[Any]], exchanges: Sequence[Bytes], state: ServerState) -> None:
    """Adds a round that led to this state; from then on that it would be longer than the state, nothing is kept."""
    if HISTORY not in memory:
        return
    grown = packed_rounds([*rounds_of(memory[HISTORY]), exchanges])
    if len(grown) < len(packed_state(state)):
        memory[HISTORY] = grown
    else:
        del memory[HISTORY]


def replayed(server: FedAvg, history: Bytes, wanted: Bytes) -> ServerState | None:
    """The state to which all rounds lead from the start; None if it is not the one with the wanted digest (32,).

    What comes from a neighbour may be anything; then it leads nowhere.
    """
    state = server.init()
    try:
        for exchanges in rounds_of(history):
            outcome = play(server, state, exchanges)
            if not isinstance(outcome, Outcome):
                return None
            state = outcome.state
    except (ValueError, FedbbptError):
        return None
    return state if np.array_equal(digest(packed_state(state)), wanted) else None


def packed_rounds(rounds: Rounds) -> Bytes:
    """Rounds as bytes (n,)."""
    flat = [exchange for one in rounds for exchange in one]
    arrays: Mapping[str, NDArray[Any]] = {str(i): exchange for i, exchange in enumerate(flat)}
    return np.frombuffer(wire.packed(arrays, lengths=[len(one) for one in rounds]), np.uint8)


def rounds_of(packed: Bytes) -> list[list[Bytes]]:
    """Inverse of `packed_rounds` for any bytes.

    Raises:
        ValueError: they do not come from it.
    """
    arrays, scalars = wire.unpacked(packed.tobytes())
    wire.keyed(scalars, "lengths")
    wire.keyed(arrays, *map(str, range(len(arrays))))
    lengths = scalars["lengths"]
    if not isinstance(lengths, list) or not all(type(one) is int and one >= 0 for one in lengths):
        raise ValueError("lengths are no list of numbers")
    if sum(lengths) != len(arrays):
        raise ValueError("the lengths do not fit")
    flat = iter([wire.typed(arrays[str(i)], "an exchange", 1, np.uint8) for i in range(len(arrays))])
    return [[next(flat) for _ in range(length)] for length in lengths]

"""News of a round, instead of its outcome: everybody's losses, from which each client merges for itself.

A client that takes part in every round knows what the server knew before the last one, and all directions come from
seeds. So the losses of all lead it to the server's new parameters, bit for bit, in as many bytes as there were losses,
whatever the dimension.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import State
from fedbbpt.algorithms.steps import TUNED
from fedbbpt.types import Update, Usage

LOSSES, FIGURES, CLIENTS = PARTS = ("news/losses", "news/figures", "news/clients")
Arrays = Mapping[str, NDArray[Any]]


def gathered(updates: Sequence[Update]) -> dict[str, NDArray[Any]]:
    """All that `FedAvg.merge` reads of updates whose payload is losses (steps, n)."""
    return {
        LOSSES: np.stack([update.payload["losses"] for update in updates]),  # (clients, steps, n)
        FIGURES: np.array([(update.weight, update.loss, update.spread) for update in updates]),  # float64
        CLIENTS: np.frombuffer("\n".join(update.client for update in updates).encode(), np.uint8),
    }


def updates_of(news: Arrays) -> list[Update]:
    """Inverse of `gathered`, but for the usage."""
    clients = news[CLIENTS].tobytes().decode().split("\n")
    rows = zip(clients, news[LOSSES], news[FIGURES].tolist(), strict=True)
    return [Update(name, {"losses": told}, int(n), loss, Usage(), spread) for name, told, (n, loss, spread) in rows]


def added(old: State, new: State, updates: Sequence[Update], everybody: bool) -> State:
    """The new state with what tells clients of it, if all of them can follow from the first round on."""
    follow = everybody and (old.round == 0 or LOSSES in old.memory)
    if not (follow and all("losses" in update.payload for update in updates)):
        return new
    told = gathered(updates)
    shorter = size(told) < size({part: new.parameters[part] for part in TUNED})
    return replace(new, memory={**new.memory, **told}) if shorter else new


def size(arrays: Arrays) -> int:
    """Bytes."""
    return sum(array.nbytes for array in arrays.values())

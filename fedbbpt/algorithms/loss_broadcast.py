"""Broadcasts all clients' losses in place of θ; every client replays the server's update from them.

A client that takes part in every round has the server's last state, and all directions come from known seeds. From all
clients' losses it computes the server's new parameters, bit for bit. The message's size depends on the number of
losses, and not on the dimension (compare FedKSeed, arXiv 2312.06353, and DeComFL, arXiv 2405.15861).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ClientContext, OutOfDateError, ServerState
from fedbbpt.types import Message, Update, Usage
from fedbbpt.types.wire import packed

LOSSES, FIGURES, CLIENTS = PARTS = ("broadcast/losses", "broadcast/figures", "broadcast/clients")
TUNED = ("prompt", "optimizer")  # the parameters that local steps change
Arrays = Mapping[str, NDArray[Any]]
Aggregate = Callable[[ServerState, Sequence[Update]], ServerState]


def gathered(updates: Sequence[Update]) -> dict[str, NDArray[Any]]:
    """Packs everything that aggregation reads from updates with losses (steps, n) into arrays."""
    return {
        LOSSES: np.stack([update.payload["losses"] for update in updates]),  # (clients, steps, n)
        FIGURES: np.array([(update.weight, update.loss, update.loss_std) for update in updates]),  # float64
        CLIENTS: packed_names([update.client for update in updates]),
    }


def packed_names(names: Sequence[str]) -> NDArray[np.uint8]:
    """Clients' names, which are single lines, as an array."""
    return np.frombuffer("\n".join(names).encode(), np.uint8)


def names_of(packed: NDArray[Any]) -> list[str]:
    """Inverse of `packed_names`."""
    return packed.tobytes().decode().split("\n") if packed.size else []


def updates_of(broadcast: Arrays) -> list[Update]:
    """Inverse of `gathered`, without the usage."""
    rows = zip(names_of(broadcast[CLIENTS]), broadcast[LOSSES], broadcast[FIGURES].tolist(), strict=True)
    return [Update(name, {"losses": losses}, int(n), loss, Usage(), std) for name, losses, (n, loss, std) in rows]


def with_broadcast(old: ServerState, new: ServerState, updates: Sequence[Update]) -> ServerState:
    """Adds the losses to the new state, if all clients can replay them and they are fewer bytes than the parameters."""
    in_step = old.round == 0 or LOSSES in old.opt_state
    if not (in_step and all("losses" in update.payload for update in updates)):
        return new
    losses = gathered(updates)
    shorter = size(losses) < size({part: new.parameters[part] for part in TUNED})
    return replace(new, opt_state={**new.opt_state, **losses}) if shorter else new


def follow(message: Message, ctx: ClientContext, aggregate: Aggregate) -> Message:
    """Replays the losses in a message; returns it with the parameters instead. The client stores the new state.

    Raises:
        OutOfDateError: the client does not have the state that the losses build on.
    """
    if LOSSES not in message.parameters:
        if message.round == 1:
            remember(ctx, ServerState(0, message.parameters))
        return message
    known = ServerState.from_arrays(ctx.state)
    if known is not None and known.round == message.round - 2:
        known = _replayed(known, message, ctx, aggregate)
        remember(ctx, known)
    if known is None or known.round != message.round - 1:
        raise OutOfDateError
    return replace(message, parameters={**known.parameters, "readout": message.parameters["readout"]})


def without_broadcast(state: ServerState) -> ServerState:
    """The state without the losses that it broadcasts."""
    return replace(state, opt_state={name: array for name, array in state.opt_state.items() if name not in PARTS})


def remember(ctx: ClientContext, state: ServerState) -> None:
    """Replaces the state that the client has with this one, without the losses that it broadcasts."""
    ctx.state.clear()
    ctx.state.update(without_broadcast(state).to_arrays())


def size(arrays: Arrays) -> int:
    """The size of the arrays in bytes."""
    return sum(array.nbytes for array in arrays.values())


def _replayed(known: ServerState, message: Message, ctx: ClientContext, aggregate: Aggregate) -> ServerState:
    """Replays the update; a pure function of state and message, so that the clients of a process share the result."""
    key = sha256(packed(known.to_arrays()) + message.to_bytes()).hexdigest()
    if key not in ctx.shared:
        ctx.shared.clear()
        ctx.shared[key] = aggregate(known, updates_of(message.parameters))
    replayed: ServerState = ctx.shared[key]
    return replayed

"""Broadcasts all clients' losses in place of θ; every client replays the server's update from them.

A client that takes part in every round knows the state from which the server made the last one, and all directions come
from seeds. So everybody's losses lead it to the server's new parameters, bit for bit, in as many bytes as there were
losses, whatever the dimension (compare FedKSeed, arXiv 2312.06353, and DeComFL, arXiv 2405.15861).
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
TUNED = ("prompt", "optimizer")  # the parts that local steps change
Arrays = Mapping[str, NDArray[Any]]
Aggregate = Callable[[ServerState, Sequence[Update]], ServerState]


def gathered(updates: Sequence[Update]) -> dict[str, NDArray[Any]]:
    """All that an aggregation reads of updates whose payload is losses (steps, n)."""
    return {
        LOSSES: np.stack([update.payload["losses"] for update in updates]),  # (clients, steps, n)
        FIGURES: np.array([(update.weight, update.loss, update.loss_std) for update in updates]),  # float64
        CLIENTS: np.frombuffer("\n".join(update.client for update in updates).encode(), np.uint8),
    }


def updates_of(broadcast: Arrays) -> list[Update]:
    """Inverse of `gathered`, but for the usage."""
    clients = broadcast[CLIENTS].tobytes().decode().split("\n")
    rows = zip(clients, broadcast[LOSSES], broadcast[FIGURES].tolist(), strict=True)
    return [Update(name, {"losses": told}, int(n), loss, Usage(), std) for name, told, (n, loss, std) in rows]


def with_broadcast(old: ServerState, new: ServerState, updates: Sequence[Update]) -> ServerState:
    """The new state with the losses to broadcast, if all clients can follow them and they are fewer bytes than θ."""
    follow = old.round == 0 or LOSSES in old.opt_state
    if not (follow and all("losses" in update.payload for update in updates)):
        return new
    told = gathered(updates)
    shorter = size(told) < size({part: new.parameters[part] for part in TUNED})
    return replace(new, opt_state={**new.opt_state, **told}) if shorter else new


def follow(message: Message, ctx: ClientContext, aggregate: Aggregate) -> Message:
    """The message with the parameters that its losses lead to; the client remembers where they led.

    Raises:
        OutOfDateError: the client does not remember the state from which the losses lead on.
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


def remember(ctx: ClientContext, state: ServerState) -> None:
    """Puts the server's state, but for what it broadcasts, in the place of the one that the client remembers."""
    own = {name: array for name, array in state.opt_state.items() if name not in PARTS}
    ctx.state.clear()
    ctx.state.update(replace(state, opt_state=own).to_arrays())


def size(arrays: Arrays) -> int:
    """Bytes."""
    return sum(array.nbytes for array in arrays.values())


def _replayed(known: ServerState, message: Message, ctx: ClientContext, aggregate: Aggregate) -> ServerState:
    """A pure function of the state and the message, so that clients of one process compute it once."""
    key = sha256(packed(known.to_arrays()) + message.to_bytes()).hexdigest()
    if key not in ctx.shared:
        ctx.shared.clear()
        ctx.shared[key] = aggregate(known, updates_of(message.parameters))
    replayed: ServerState = ctx.shared[key]
    return replayed

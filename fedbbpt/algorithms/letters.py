"""Messages about what clients write to each other, where there is no server."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ServerState
from fedbbpt.algorithms.loss_broadcast import names_of, packed_names
from fedbbpt.types import Message

LETTER = "letter"  # the handler that writes one
SENDERS, WEIGHTS = "senders", "weights"  # parameters of messages
NAMES = "names"  # in the state of a run without a server: the nodes' names, in the order of their numbers
EXCHANGE, COMPRESSED = "exchange", "compressed"  # of messages where letters may say only what has changed


def in_exchange(message: Message, number: int, *, compressed: bool) -> Message:
    """The message of the exchange of this number in a run; letters say all, or the most of what has changed."""
    parameters: Any = {EXCHANGE: np.array([number], np.float64)}
    return replace(message, parameters=parameters | ({COMPRESSED: np.ones(1, np.uint8)} if compressed else {}))


def exchange_of(message: Message) -> int:
    """The number of the exchange to which a message belongs."""
    return int(message.parameters[EXCHANGE][0])


def asking(message: Message, senders: Sequence[str]) -> Message:
    """The message to take the letters of these neighbours, which write them in answer to the message itself."""
    parameters: Any = {**message.parameters, SENDERS: packed_names(senders)}
    return replace(message, parameters=parameters)


def asked_of_senders(message: Message) -> Message:
    """What the neighbours are asked for: the message to which `asking` has added them."""
    return replace(message, parameters={name: one for name, one in message.parameters.items() if name != SENDERS})


def senders_of(message: Message) -> list[str]:
    """The neighbours that a message names."""
    return names_of(message.parameters[SENDERS])


def weighing(message: Message, weights: NDArray[np.float64], senders: Sequence[str]) -> Message:
    """The message to average what a client has with these neighbours' letters; the first weight is its own."""
    parameters: Any = {**message.parameters, SENDERS: packed_names(senders), WEIGHTS: weights}
    return replace(message, parameters=parameters)


def numbered(state: ServerState, clients: Sequence[str]) -> list[str]:
    """The nodes' names by number, in the order in which they first took part; those of the state come first."""
    known = names_of(state.opt_state.get(NAMES, packed_names([])))
    return known + [client for client in clients if client not in known]


def lost_links(senders: Mapping[str, Sequence[str]], missing: Mapping[str, Container[str]]) -> list[tuple[str, str]]:
    """The links (receiver, sender) that cannot be used in either direction.

    Args:
        senders: whose letters each client was to take.
        missing: of whom each has none; of clients that are not named here, nothing was heard.
    """
    return [
        (client, sender)
        for client, theirs in senders.items()
        for sender in theirs
        if client not in missing or sender not in missing or sender in missing[client]
    ]


def row_of(mixing: Any, node: int) -> tuple[list[int], NDArray[np.float64]]:
    """The neighbours of a node by number, from its row of a mixing matrix, and the weights of itself and them."""
    row = slice(mixing.indptr[node], mixing.indptr[node + 1])
    weights = {int(column): float(weight) for column, weight in zip(mixing.indices[row], mixing.data[row], strict=True)}
    theirs = sorted(column for column, weight in weights.items() if column != node and weight > 0)
    return theirs, np.array([weights.get(node, 0.0), *(weights[column] for column in theirs)])

"""Which replies of clients can be used: of the form that was asked for, and finite where numbers are needed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import R, Reply
from fedbbpt.errors import BackendError
from fedbbpt.types import Client, Message, Score, Sums, Update

MEMORY = "memory/"  # of these parts, which are under the client's own name, any may be there or not
NAMED = 5  # clients in a sentence
Arrays = Mapping[str, NDArray[Any]]


def usable(
    replies: Sequence[R], clients: Sequence[Client], blank: Reply, message: Message, out: dict[str, str]
) -> list[R]:
    """The replies that can be used, of clients that are not `out`; those that cannot put theirs there, with the reason.

    `blank` is what a client without data would reply (see `Algorithm.blank`). Where all are well-formed and none is
    finite, nobody is out: changes of parameters and scores are like that when a run diverges, which is no client's
    fault, and the method's to see.

    Raises:
        BackendError: nobody is left.
    """
    for client, reply in zip(clients, replies, strict=True):
        if client.id not in out and (reason := _malformed(reply, blank, client.id)):
            out[client.id] = reason
    formed = [(c.id, reply) for c, reply in zip(clients, replies, strict=True) if c.id not in out]
    unfit = {client: reason for client, reply in formed if (reason := _unfit(reply, blank, client))}
    if formed and len(unfit) == len(formed) and _may_diverge(blank, message):
        unfit = {}
    out |= unfit
    left = [reply for client, reply in formed if client not in unfit]
    if clients and not left:
        reasons = [f"{client} {reason}" for client, reason in list(out.items())[:NAMED]]
        more = ["…"] * (len(out) > NAMED)
        raise BackendError(
            f"no client of round {message.round} sent what can be used ({'; '.join(reasons + more)}); the rounds "
            "before are not lost: once the clients are mended, continue with --resume"
        )
    return left


def _malformed(reply: Any, blank: Reply, client: str) -> str:
    if type(reply) is not type(blank):
        return f"sent no {type(blank).__name__}"
    if isinstance(reply, Update | Score) and reply.client != client:
        return "sent a reply under another client's name"
    if isinstance(reply, Update) and not (isinstance(reply.weight, int) and reply.weight > 0):
        return "has no training samples, by its own word"
    ours, theirs = _arrays(blank, client), _arrays(reply, client)
    if ours.keys() != {name for name in theirs if not name.startswith(f"/{MEMORY}")}:
        return "sent other parts than it was asked for"
    for name, array in ours.items():
        if (array.shape, array.dtype) != (np.shape(theirs[name]), getattr(theirs[name], "dtype", None)):
            return f"sent {name.strip('/')} in another form than {array.dtype}{list(array.shape)}"
    if isinstance(reply, Score) and ((reply.confusion < 0).any() or reply.unanswered < 0):
        return "sent negative counts"
    return ""


def _empty(arrays: Arrays) -> bool:
    numbers = [array for array in arrays.values() if array.size]
    return bool(numbers) and not any(np.isfinite(array).any() for array in numbers)


def _unfit(reply: Reply, blank: Reply, client: str) -> str:
    if isinstance(reply, Score) and not math.isfinite(reply.loss_sum):
        return "sent NaN or infinity as its loss"
    if isinstance(reply, Update) and math.isfinite(reply.loss) and _empty(reply.payload):
        return "sent NaN or infinity for all that it measured"
    gaps = {name for name, array in _arrays(blank, client).items() if np.isnan(array).any()}
    for name, array in _arrays(reply, client).items():
        if np.isinf(array).any() or (name not in gaps and np.isnan(array).any()):
            return f"sent NaN or infinity in {name.strip('/')}"
    return ""


def _may_diverge(blank: Reply, message: Message) -> bool:
    changes = isinstance(blank, Update) and blank.payload.keys() <= message.parameters.keys()
    return changes or isinstance(blank, Score)


def _arrays(reply: Any, client: str) -> Arrays:
    """By name, but for the client's own name before it."""
    if isinstance(reply, Update):
        return {name.removeprefix(client): array for name, array in reply.payload.items()}
    return {"its sums": reply.values} if isinstance(reply, Sums) else {"confusion": reply.confusion}

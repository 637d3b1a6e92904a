"""Checks clients' replies: their form is that of the template, and their numbers are finite."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ClientReply
from fedbbpt.errors import BackendError
from fedbbpt.types import Message, OutOfDate, Received, Score, Statistics, Update

HUGE = 1_000  # times what a client has itself, or 1 if that is less
PLACES = np.uint32  # in a vector, of numbers that a letter says; the template has the highest
MOST_NAMED = 5  # clients in an error message
Arrays = Mapping[str, NDArray[Any]]


def usable(replies: Mapping[str, Any], template: ClientReply, message: Message, unusable: dict[str, str]) -> list[Any]:
    """Returns the usable replies; adds the other clients to `unusable`, with the reason.

    `template` is the reply of a client without data (see `Algorithm.template`); where it has no bytes, uint8 of shape
    (0,), others have any number, which the algorithm reads itself. If all replies have the right form and
    none is finite, all are returned: parameters and scores are not finite after divergence, which is no client's fault,
    and which the algorithm handles.

    Raises:
        BackendError: no reply is usable.
    """
    for client, reply in replies.items():
        if client not in unusable and (reason := _malformed(reply, template, client)):
            unusable[client] = reason
    formed = {client: reply for client, reply in replies.items() if client not in unusable}
    unfit = {client: reason for client, reply in formed.items() if (reason := _unfit(reply, template))}
    if formed and len(unfit) == len(formed) and _may_diverge(template, message):
        unfit = {}
    unusable |= unfit
    left = [reply for client, reply in formed.items() if client not in unfit]
    if replies and not left:
        reasons = [f"{client} {reason}" for client, reason in list(unusable.items())[:MOST_NAMED]]
        more = ["…"] * (len(unusable) > MOST_NAMED)
        raise BackendError(
            f"no client of round {message.round} sent a usable reply ({'; '.join(reasons + more)}); the rounds "
            "before are saved: once the clients are repaired, continue with --resume"
        )
    return left


def letter_problem(letter: Any, template: Update, sender: str, own: Any) -> str:
    """Why a client does not use another's letter, as "it …"; empty if it does.

    A letter has the form of the template, is finite, and has no number that is out of proportion to those of the
    client's own letter, if it has written one. Both say parameters, or both say changes of them.
    """
    if found := _malformed(letter, template, sender) or _unfit(letter, template):
        return found
    for name, array in letter.payload.items():
        if array.dtype.kind != "f":  # as large as its dtype allows
            continue
        usual = float(np.abs(own.payload[name]).max(initial=1.0)) if isinstance(own, Update) else 1.0
        if np.abs(array).max(initial=0.0) > HUGE * usual:
            return f"sent a number in {name} that is more than {HUGE:,} times as large as the receiver's own"
    return ""


def _malformed(reply: Any, template: ClientReply, client: str) -> str:
    if isinstance(reply, OutOfDate):
        return "lacks what the message builds on"
    if type(reply) is not type(template):
        return f"sent no {type(template).__name__}"
    if isinstance(reply, Update | Score | Received) and reply.client != client:
        return "sent a reply under another client's name"
    if isinstance(reply, Update) and not (isinstance(reply.weight, int) and reply.weight > 0):
        return "reported no training examples"
    ours, theirs = _arrays(template), _arrays(reply)
    if ours.keys() != theirs.keys():
        return "sent other parts than the expected ones"
    for name, array in ours.items():
        sent: Any = theirs[name]
        if not isinstance(sent, np.ndarray) or (_shape(sent, array), sent.dtype) != (array.shape, array.dtype):
            return f"sent {name} with another dtype or shape than {array.dtype}{list(array.shape)}"
        if array.dtype == PLACES and ((sent > array).any() or (sent[1:] <= sent[:-1]).any()):
            return f"sent places in {name} that do not exist, or not in order"
    if isinstance(reply, Score) and ((reply.confusion < 0).any() or reply.unanswered < 0):
        return "sent negative counts"
    if isinstance(reply, Score) and not reply.has_possible_pairs:
        return "sent counts of pairs that do not go with its score"
    return ""


def _shape(sent: NDArray[Any], template: NDArray[Any]) -> tuple[int, ...]:
    """The shape to compare with the template's; any number of bytes has that of none, where the template has none."""
    is_free = template.dtype == np.uint8 and template.shape == (0,) and sent.ndim == 1
    return template.shape if is_free else sent.shape


def _unfit(reply: Any, template: ClientReply) -> str:
    if isinstance(reply, Score) and not math.isfinite(reply.loss_sum):
        return "sent NaN or infinity as its loss"
    if isinstance(reply, Update) and math.isfinite(reply.loss) and _nothing_finite(reply.payload):
        return "sent NaN or infinity for all that it measured"
    gaps = {name for name, array in _arrays(template).items() if np.isnan(array).any()}
    for name, array in _arrays(reply).items():
        if np.isinf(array).any() or (name not in gaps and np.isnan(array).any()):
            return f"sent NaN or infinity in {name}"
    return ""


def _nothing_finite(arrays: Arrays) -> bool:
    numbers = [array for array in arrays.values() if array.size]
    return bool(numbers) and not any(np.isfinite(array).any() for array in numbers)


def _may_diverge(template: ClientReply, message: Message) -> bool:
    changes = isinstance(template, Update) and template.payload.keys() <= message.parameters.keys()
    return changes or isinstance(template, Score)


def _arrays(reply: Any) -> Arrays:
    if isinstance(reply, Update):
        return reply.payload
    if isinstance(reply, Received):
        return {}
    return {"statistics": reply.values} if isinstance(reply, Statistics) else {"confusion": reply.confusion}

"""A node of a flood: it plays the server as far as it has heard, and says what the server would ask of it."""

import math
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ClientContext, Handler, OutOfDateError, ServerState, flood_history
from fedbbpt.algorithms.evaluation import evaluate
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.flood_history import HISTORY, replayed
from fedbbpt.algorithms.flood_log import (
    Outcome,
    Question,
    RoundLog,
    digest,
    packed_replies,
    packed_state,
    play,
    salted,
)
from fedbbpt.algorithms.flood_round import (
    CONTENT,
    COUNTED,
    DIGEST,
    DIGESTS,
    FIGURES,
    HAS,
    NUM_FIGURES,
    REFUSED,
    SPEAKERS,
    STATE,
    UNUSABLE,
    digests_by_speaker,
)
from fedbbpt.algorithms.letters import LETTER
from fedbbpt.algorithms.loss_broadcast import names_of
from fedbbpt.algorithms.own_parameters import CURRENT, SELECTED, load, says, store
from fedbbpt.types import Message, Score, Update, Usage, wire

PLAYED = "flood"  # in `ClientContext.shared`: the last play, and of what


class Server(FedAvg):
    """`fedavg` as each node plays it: all that a message would hold is at hand."""

    _broadcasts_losses = False

    def _train(self, message: Message, ctx: ClientContext) -> Update:
        return self._local.train(message, ctx)


class Node:
    """The handlers of `Flood`, over the server that all nodes play."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`."""
        return {
            "train": self._train,
            LETTER: self._letter,
            "hear": self._hear,
            "evaluate": self._evaluate,
            "catch_up": self._catch_up,
            "select": self._select,
            "reveal": self._whole,
        }

    def _train(self, message: Message, ctx: ClientContext) -> Update:
        """Plays the server as far as the log goes; answers its question, or ends the round."""
        log, counted = RoundLog(ctx.scratch), list[str]()
        if COUNTED in message.parameters:
            counted = names_of(message.parameters[COUNTED])
            log.close(counted)
        else:
            log.clear()
            store(ctx, CURRENT, self._state(message, ctx))
            if message.round == 1:
                flood_history.begin(ctx.state)
        played = self._played(log, ctx)
        marks = np.zeros(len(counted), np.uint8)
        if isinstance(played, Question):
            reply: Any = self._server.handlers[played.handler](played.message, ctx)
            log.open(ctx.id, content := salted(reply.to_bytes(), ctx.data.train))
            said, figures, loss, usage = np.frombuffer(content, np.uint8), np.zeros(NUM_FIGURES), math.nan, reply.usage
        else:
            flood_history.add(ctx.state, list(log.exchanges), played.state)
            log.clear()
            store(ctx, CURRENT, played.state)
            loss, validated, *_ = played.report
            said, usage = packed_state(played.state), Usage()
            figures = np.array([1, validated is not None, *(validated or (0, 0, 0))], np.float64)
            marks = np.array([node in played.unusable for node in counted], np.uint8)
        return says(ctx, {DIGEST: digest(said), FIGURES: figures, UNUSABLE: marks}, loss, usage)

    def _played(self, log: RoundLog, ctx: ClientContext) -> Question | Outcome:
        """How the server would go on; the same for all nodes, so that those of a process share it."""
        own = load(ctx, CURRENT)
        if own is None:
            raise OutOfDateError
        exchanges = list(log.exchanges)
        key = sha256(b"".join(digest(part).tobytes() for part in (packed_state(own), *exchanges))).digest()
        if PLAYED not in ctx.shared or ctx.shared[PLAYED][0] != key:
            ctx.shared[PLAYED] = key, play(self._server, own, exchanges)
        played: Question | Outcome = ctx.shared[PLAYED][1]
        return played

    def _letter(self, message: Message, ctx: ClientContext) -> Update:
        """What is new to it since its last letter.

        Where nobody asks about an exchange: what led to the state from the start, or the state if that is shorter.
        """
        if DIGESTS not in message.parameters:
            state = self._state(message, ctx)
            return says(ctx, {CONTENT: ctx.state.get(HISTORY, packed_state(state))})
        return says(ctx, {CONTENT: packed_replies(self._listening(message, ctx).news())})

    def _hear(self, message: Message, ctx: ClientContext) -> Update:
        """Whose replies it has. Its next letter holds all of them, since it is asked for only if some got lost."""
        log = self._listening(message, ctx)
        log.repeat()
        speakers, found = names_of(message.parameters[SPEAKERS]), {HAS: log.heard, REFUSED: log.refused}
        marks = {part: np.array([one in names for one in speakers], np.uint8) for part, names in found.items()}
        return says(ctx, marks)

    def _evaluate(self, message: Message, ctx: ClientContext) -> Score:
        return evaluate(ctx, self._state(message, ctx).parameters, message)

    def _catch_up(self, message: Message, ctx: ClientContext) -> Update:
        """Takes a neighbour's state, or plays what led to it, if it is that of all others."""
        wanted: Any = message.parameters.get(STATE)
        for letter in ctx.letters.values():
            found = opened(letter, wanted)
            if found is not None:
                ctx.state.pop(HISTORY, None)
            elif wanted is not None and (found := replayed(self._server, letter[CONTENT], wanted)) is not None:
                ctx.state[HISTORY] = letter[CONTENT]
            if found is not None:
                store(ctx, CURRENT, found)
                break
        ctx.memory.take_letters({})
        return says(ctx, {})

    def _select(self, message: Message, ctx: ClientContext) -> Update:
        store(ctx, SELECTED, self._state(message, ctx))
        return says(ctx, {})

    def _whole(self, message: Message, ctx: ClientContext) -> Update:
        return says(ctx, {CONTENT: packed_state(self._state(message, ctx))})

    @staticmethod
    def _listening(message: Message, ctx: ClientContext) -> RoundLog:
        """The node's notes, with what its neighbours have written."""
        log = RoundLog(ctx.scratch)
        log.take(ctx.letters, digests_by_speaker(message))
        ctx.memory.take_letters({})
        return log

    def _state(self, message: Message, ctx: ClientContext) -> ServerState:
        """The state that the message names by its digest, or whose parameters it holds; if neither, the start.

        Raises:
            OutOfDateError: the node does not have it.
        """
        if STATE not in message.parameters:
            return ServerState(message.round - 1, message.parameters or self._server.init().parameters)
        for own in (load(ctx, CURRENT), load(ctx, SELECTED)):
            if own is not None and np.array_equal(digest(packed_state(own)), message.parameters[STATE]):
                return own
        raise OutOfDateError


def opened(letter: Mapping[str, NDArray[Any]], wanted: NDArray[Any] | None) -> ServerState | None:
    """The state that a letter holds whole, if its digest is the wanted one."""
    packed = letter[CONTENT]
    if wanted is None or not np.array_equal(digest(packed), wanted):
        return None
    return ServerState.from_arrays(wire.unpacked(packed.tobytes())[0])

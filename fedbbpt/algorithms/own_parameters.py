"""Clients that train parameters of their own, and keep them from round to round."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from fedbbpt.algorithms import Algorithm, ClientContext, ServerState
from fedbbpt.types import Message, Parameters, Score, Update, Usage

NO_USAGE = Usage()
CURRENT, SELECTED = "current/", "selected/"  # prefixes of a client's parameters: the latest, and the best so far


class OwnParameters(Algorithm):
    """The part of an algorithm that keeps each client's own parameters: the latest, and those of the best round."""

    @abstractmethod
    def _first(self, message: Message) -> ServerState:
        """What a client without parameters begins with."""

    @abstractmethod
    def _score(self, parameters: Parameters, message: Message, ctx: ClientContext) -> Score:
        """Scores parameters on the subset of the client's data that a message names."""

    def _own(self, message: Message, ctx: ClientContext) -> ServerState:
        """The client's latest parameters, or the first ones."""
        return load(ctx, CURRENT) or self._first(message)

    def _of_round(self, message: Message, ctx: ClientContext) -> ServerState:
        """The client's parameters of the message's round, or the latest if it has none of that round."""
        stored = [own for part in (SELECTED, CURRENT) if (own := load(ctx, part)) is not None]
        wanted = [own for own in stored if own.round == message.round - 1]
        return self._first(message) if message.round == 1 or not stored else (wanted or stored[-1:])[0]

    def _evaluate_own(self, message: Message, ctx: ClientContext) -> Score:
        return self._score(self._of_round(message, ctx).parameters, message, ctx)

    def _select(self, message: Message, ctx: ClientContext) -> Update:
        """Keeps the latest parameters as the best so far."""
        store(ctx, SELECTED, replace(self._own(message, ctx), round=message.round - 1))
        return says(ctx, {})


def says(
    ctx: ClientContext, payload: Mapping[str, NDArray[Any]], loss: float = math.nan, usage: Usage = NO_USAGE
) -> Update:
    """A reply; one that is no training has no loss."""
    return Update(ctx.id, payload, len(ctx.data.train), loss, usage)


def store(ctx: ClientContext, which: str, own: ServerState) -> None:
    """Puts parameters of one kind in place of those that the client has stored."""
    for name in [name for name in ctx.state if name.startswith(which)]:
        del ctx.state[name]
    ctx.state.update(own.to_arrays(which))


def load(ctx: ClientContext, which: str) -> ServerState | None:
    """The client's stored parameters of one kind."""
    return ServerState.from_arrays(ctx.state, which)

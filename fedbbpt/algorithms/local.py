"""Training without federation: the baseline that shows what clients gain from each other."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fedbbpt.algorithms import ClientContext, ClientReply, Handler, RoundReport, Send, ServerState
from fedbbpt.algorithms.calibration import mean_loss
from fedbbpt.algorithms.evaluation import evaluate
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.readout_fit import fit
from fedbbpt.types import Message, Score, Update, Usage

CURRENT, SELECTED = "current/", "selected/"  # prefixes of a client's parameters: the latest, and the best so far


class Local(FedAvg):
    """Each client trains alone, with the steps and the options of `fedavg`; nothing is averaged or sent.

    The server's state is the common start. Each client stores its own parameters, and the state that `fedavg`'s server
    would have. All clients end with the parameters of the same round: the best one on all validation data together. If
    clients have different label distributions, their parameters learn those, too, so that this baseline can beat a
    federation.
    """

    shares_parameters = False

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`."""
        return {"train": self._train, "evaluate": self._evaluate, "select": self._select}

    def broadcast(self, state: ServerState) -> Message:
        """The common start."""
        return self._full(state)

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """One exchange; the clients reply with their losses only."""
        updates = send("train", self.broadcast(state))
        return replace(state, round=state.round + 1), RoundReport(mean_loss(updates))

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler == "evaluate":
            return super().template(handler, message)
        return Update("", {}, 0, math.nan, Usage())

    def most_exchanges(self, round_: int) -> int:
        """None: the clients exchange nothing."""
        return 0

    @np.errstate(over="ignore", invalid="ignore")
    def _train(self, message: Message, ctx: ClientContext) -> Update:
        """Takes the steps of `fedavg`, aggregates the client's own update, and fits its own readout."""
        own = replace(_load(ctx, CURRENT) or ServerState(0, message.parameters), round=message.round - 1)
        update = self._local.train(self._full(own), ctx)
        new = self.aggregate(own, [update])
        if self.model.readout.trainable:
            empty = Message(message.round, message.seed, {})
            weights = fit(self.model.readout, new.parameters["readout"], self._alone(ctx), empty).astype(np.float32)
            new = replace(new, parameters={**new.parameters, "readout": weights})
        _store(ctx, CURRENT, new)
        return replace(update, payload={})

    def _evaluate(self, message: Message, ctx: ClientContext) -> Score:
        """Scores the client's parameters of the message's round, or the latest if it has none of that round."""
        stored = [own for part in (SELECTED, CURRENT) if (own := _load(ctx, part)) is not None]
        wanted = [own for own in stored if own.round == message.round - 1]
        parameters = message.parameters if message.round == 1 or not stored else (wanted or stored[-1:])[0].parameters
        return evaluate(ctx, parameters, message)

    def _select(self, message: Message, ctx: ClientContext) -> Update:
        current = _load(ctx, CURRENT) or ServerState(0, message.parameters)
        _store(ctx, SELECTED, replace(current, round=message.round - 1))
        return Update(ctx.id, {}, len(ctx.data.train), math.nan, Usage())

    def _alone(self, ctx: ClientContext) -> Callable[[str, Message], list[Any]]:
        return lambda handler, message: [self._fit_statistics(message, ctx)]


def _store(ctx: ClientContext, which: str, own: ServerState) -> None:
    for name in [name for name in ctx.state if name.startswith(which)]:
        del ctx.state[name]
    ctx.state.update(own.to_arrays(which))


def _load(ctx: ClientContext, which: str) -> ServerState | None:
    return ServerState.from_arrays(ctx.state, which)

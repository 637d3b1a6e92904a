"""Training without federation: the baseline that shows what clients gain from each other."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fedbbpt.algorithms import ClientContext, ClientReply, Handler, RoundReport, Send, ServerState
from fedbbpt.algorithms.calibration import mean_loss
from fedbbpt.algorithms.evaluation import evaluate
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.own_parameters import CURRENT, OwnParameters, store
from fedbbpt.algorithms.readout_fit import fit
from fedbbpt.types import Floats, Message, Parameters, Score, Update, Usage


class Local(OwnParameters, FedAvg):
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
        return {"train": self._train, "evaluate": self._evaluate_own, "select": self._select}

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
        own = replace(self._own(message, ctx), round=message.round - 1)
        update = self._local.train(self._full(own), ctx)
        new = self.aggregate(own, [update])
        if self.model.readout.trainable:
            weights = self._fitted(new.parameters["readout"], ctx).astype(np.float32)
            new = replace(new, parameters={**new.parameters, "readout": weights})
        store(ctx, CURRENT, new)
        return replace(update, payload={})

    def _fitted(self, weights: Floats, ctx: ClientContext) -> Floats:
        """The client's readout, fitted to what it has asked in this round."""

        def alone(_: str, message: Any) -> list[Any]:
            return [self._fit_statistics(message, ctx)]

        return fit(self.model.readout, weights, alone, Message(1, self._seed, {}))

    def _first(self, message: Message) -> ServerState:
        """The common start."""
        return ServerState(0, message.parameters)

    def _score(self, parameters: Parameters, message: Message, ctx: ClientContext) -> Score:
        return evaluate(ctx, parameters, message)

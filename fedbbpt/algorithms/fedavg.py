"""Fed-BBPT (Lin et al. 2023, arXiv 2310.03123): local zero-order steps, then FedAvg (McMahan et al. 2017)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal, TypeGuard

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from fedbbpt.algorithms import (
    Algorithm,
    AlgorithmContext,
    ClientContext,
    ClientReply,
    ClientSizes,
    CrossValidated,
    Handler,
    MakeOptimizer,
    RoundReport,
    Send,
    ServerState,
    cross_validation,
    loss_broadcast,
)
from fedbbpt.algorithms.aggregation import weighted_mean
from fedbbpt.algorithms.calibration import Calibration, mean_loss
from fedbbpt.algorithms.evaluation import empty_score, evaluate
from fedbbpt.algorithms.local_steps import LocalSteps, Upload, stored_fit_data
from fedbbpt.algorithms.loss_trend import LossTrend, pooled_loss
from fedbbpt.algorithms.readout_fit import empty_statistics, fit, folded_fit, summed_statistics
from fedbbpt.algorithms.sampling import number_of_clients, sample_clients
from fedbbpt.algorithms.server_optimizer import DEFAULT_LR, RULES, ServerOptimizer
from fedbbpt.errors import ConfigError
from fedbbpt.optim.noop import NoOp
from fedbbpt.readouts import Readout
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Message, Score, Statistics, Update, Usage

LARGEST = np.finfo(np.float32).max
OPT_STATE = "opt_state/"  # prefix in the message of "catch_up"


class FedAvg(Algorithm):
    """Local zero-order steps on the prompt, then a weighted mean; the readout is fitted exactly to the same answers.

    Each client takes zero-order steps on θ, and the server averages the changes, weighted by the number of training
    examples. In rounds whose parameters are scored (`evaluate_every`), it then fits the readout to all scores that
    these steps queried (see `readouts.Readout.fit`); between them, clients go on with the last one.

    Args:
        context: the model, the optimizer and the seed.
        participation: share of the clients that take part in a round; at least one does.
        clients_per_round: number of clients per round, in place of `participation`; 1 is FedOne.
        local_steps: zero-order steps per client and round.
        batch_size: examples per minibatch, drawn without replacement; a client with fewer uses all of them. Unset, 32,
            since more steps on fewer examples lower the loss faster for the same queries; or 128 with a readout that is
            fitted to the same answers.
        upload: "losses" sends the clients' losses, from which the server rebuilds their steps bit for bit, since all
            directions come from known seeds (as in FedKSeed and DeComFL); the size does not depend on the dimension.
            "parameters" sends the changes themselves. If all clients take part and the losses are fewer bytes than the
            parameters, they are broadcast, too (see `loss_broadcast`).
        loss_dtype: dtype of the losses in messages; float32 without `calibrate`.
        calibrate: bring losses and steps to one scale (see `algorithms.calibration`), and when the losses rise go back
            to the best θ with half the step; without it, the optimizer's options mean what they do in the literature.
            Discrete prompts have no scale, and are not checked for rising losses, since these may jump.
        server_optimizer: how the server applies the mean change: as it is, with momentum, or as Adam's gradient (see
            `algorithms.server_optimizer`).
        server_lr: the server's learning rate; unset, the server optimizer's own.
    """

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        participation: Annotated[float, Field(gt=0, le=1)] = 1.0,
        clients_per_round: PositiveInt | None = None,
        local_steps: PositiveInt = 1,
        batch_size: PositiveInt | None = None,
        upload: Upload = "losses",
        loss_dtype: Literal["float16", "float32"] = "float16",
        calibrate: bool = True,
        server_optimizer: ServerOptimizer = "mean",
        server_lr: PositiveFloat | None = None,
    ) -> None:
        self.model, self._seed, self._is_evaluated = context.model, context.seed, context.is_evaluated
        self._participation, self._clients_per_round = participation, clients_per_round
        self._calibrate, self._scaled = calibrate, not self.model.prompt.choices
        self._server_optimizer = server_optimizer
        self._server_lr = DEFAULT_LR[server_optimizer] if server_lr is None else server_lr
        make: MakeOptimizer = context.optimizer if self.model.prompt.dim else NoOp
        dtype = np.dtype(loss_dtype).type if calibrate else np.float32
        together = number_of_clients(participation, clients_per_round, context.clients) if self.shares_parameters else 1
        batch_size = batch_size or (128 if self.model.readout.trainable else 32)
        self._local = LocalSteps(self.model, make, local_steps, batch_size, upload, dtype, calibrate, together)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `Algorithm`."""
        return {
            "train": self._train,
            "fit_statistics": self._fit_statistics,
            "evaluate": self._evaluate,
            "catch_up": self._catch_up,
        }

    def init(self) -> ServerState:
        """The prompt's and the readout's own initial parameters."""
        theta = self.model.prompt.init(np.random.default_rng(self._seed))
        parameters = {
            "prompt": theta,
            "optimizer": self._local.fresh(theta).state.astype(np.float32),
            "readout": self.model.readout.init(self.prompts_per_input(0)),
            "calibration": Calibration().to_array(),
        }
        return ServerState(0, parameters)

    def sample(self, state: ServerState, clients: Sequence[ClientSizes]) -> list[ClientSizes]:
        """Draws clients uniformly without replacement; the draw depends only on the seed and the round."""
        count = number_of_clients(self._participation, self._clients_per_round, len(clients))
        return sample_clients(clients, count, self._seed, state.round + 1)

    def broadcast(self, state: ServerState) -> Message:
        """The current parameters, or the losses from which clients compute them."""
        losses = {part: state.opt_state[part] for part in loss_broadcast.PARTS if part in state.opt_state}
        if losses:
            return Message(state.round + 1, self._seed, {**losses, "readout": state.parameters["readout"]})
        return self._full(state)

    def catch_up(self, state: ServerState) -> Message:
        """The parameters and the server optimizer's state, which the next losses build on."""
        more = {OPT_STATE + k: v for k, v in loss_broadcast.without_broadcast(state).opt_state.items()}
        return Message(state.round + 1, self._seed, {**state.parameters, **more})

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """Runs the local steps and aggregates them; then fits the readout, in an exchange per evaluation."""
        updates = send("train", self.broadcast(state))
        new = self.aggregate(state, updates)
        if self._broadcasts_losses:
            new = loss_broadcast.with_broadcast(state, new, updates)
        return self._with_fitted_readout(new, send, mean_loss(updates))

    @np.errstate(over="ignore", invalid="ignore")
    def aggregate(self, state: ServerState, updates: Sequence[Update]) -> ServerState:
        """Applies the weighted mean change, or goes back to the best θ if the losses rose (see `LossTrend`).

        Raises:
            ConfigError: the parameters overflowed and `calibrate` is off.
        """
        calibration = Calibration.from_array(state.parameters["calibration"])
        opt_state = dict(loss_broadcast.without_broadcast(state).opt_state)
        parameters, loss = dict(state.parameters), pooled_loss(updates)
        rebuilt = [self._local.replay(self._full(state), update) for update in updates]
        finite = all((np.abs(part) < LARGEST).all() for change in rebuilt for part in change.values())
        if not (finite or self._calibrate):
            raise ConfigError(
                "the prompt diverged beyond all numbers; start a new run with smaller steps (-o optimizer.a, or "
                "optimizer.sigma), or with -o algorithm.calibrate=true"
            )
        trend = LossTrend.from_array(opt_state["trend"]) if "trend" in opt_state else LossTrend()
        if self._calibrate and (not finite or (self._scaled and trend.is_setback(loss))):
            best = opt_state.get("best", parameters["prompt"])
            opt_state = {"trend": trend.after_setback().to_array(), "best": best}  # no momentum
            parameters |= {"prompt": best, "optimizer": self.init().parameters["optimizer"]}
            calibration = calibration.update(updates, scaled=False).scaled(0.5) if self._scaled else calibration
        else:
            if trend.mean_of_two(loss) < trend.lowest:
                opt_state["best"] = parameters["prompt"]
            opt_state["trend"] = trend.after(loss).to_array()
            mean = weighted_mean(rebuilt, [u.weight for u in updates])
            step, remembered = RULES[self._server_optimizer](mean["prompt"], opt_state, self._server_lr)
            opt_state |= remembered
            for part, change in (mean | {"prompt": step}).items():
                parameters[part] = (parameters[part] + change).astype(np.float32)
            calibration = calibration.update(updates, self._scaled) if self._calibrate else calibration
        return ServerState(state.round + 1, parameters | {"calibration": calibration.to_array()}, opt_state)

    def template(self, handler: str, message: Message) -> ClientReply:
        """See `Algorithm`."""
        if handler == "evaluate":
            sent = message.parameters
            known = sent if "prompt" in sent else {**self.init().parameters, "readout": sent["readout"]}
            return empty_score(self.model, known)
        if handler == "fit_statistics":
            scores = np.zeros((0, 1, len(self.model.info.classes)), np.float32)
            return empty_statistics(self.model.readout, message, scores)
        return Update("", {}, 0, math.nan, Usage()) if handler == "catch_up" else self._empty_update()

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """See `Algorithm`; nothing without a prompt, since clients remember the scores."""
        return self._local.usage(client.train)

    def most_exchanges(self, round_: int) -> int:
        """See `Algorithm`."""
        return 1 + self.model.readout.most_exchanges + self._cross_validates(self.model.readout)

    def parameter_counts(self, rounds: int) -> dict[str, int]:
        """See `Algorithm`."""
        return {"prompt": self.model.prompt.dim, "readout": len(self.model.readout.init(1))}

    @np.errstate(over="ignore", invalid="ignore")  # `aggregate` checks for overflow
    def _train(self, message: Message, ctx: ClientContext) -> Update:
        return self._local.train(loss_broadcast.follow(message, ctx, self.aggregate), ctx)

    def _fit_statistics(self, message: Message, ctx: ClientContext) -> Statistics:
        return cross_validation.statistics(self.model.readout, message, stored_fit_data(ctx), ctx.id)

    def _evaluate(self, message: Message, ctx: ClientContext) -> Score:
        followed = loss_broadcast.follow(message, ctx, self.aggregate)
        return evaluate(ctx, followed.parameters, message)

    def _catch_up(self, message: Message, ctx: ClientContext) -> Update:
        opt_state = {k.removeprefix(OPT_STATE): v for k, v in message.parameters.items() if k.startswith(OPT_STATE)}
        parameters = {k: v for k, v in message.parameters.items() if not k.startswith(OPT_STATE)}
        loss_broadcast.remember(ctx, ServerState(message.round - 1, parameters, opt_state))
        return Update(ctx.id, {}, len(ctx.data.train), math.nan, Usage())

    def _with_fitted_readout(self, state: ServerState, send: Send, loss: float) -> tuple[ServerState, RoundReport]:
        """The state with the readout fitted to what the clients have asked in its round; cross-validates that.

        Not where there is a prompt: the same example then has several answers, which lie in several folds.
        """
        readout, message, counts = self.model.readout, Message(state.round, self._seed, {}), None
        if not readout.trainable or (self.model.prompt.dim and not self._is_evaluated(state.round)):
            return state, RoundReport(loss)
        if self._cross_validates(readout):
            weights, fold_weights = folded_fit(readout, state.parameters["readout"], send, message)
            counts = CrossValidated(*map(int, summed_statistics(fold_weights, send, message)))
        else:
            weights = fit(readout, state.parameters["readout"], send, message)
        parameters = {**state.parameters, "readout": weights.astype(np.float32)}
        return replace(state, parameters=parameters), RoundReport(loss, counts)

    def _cross_validates(self, readout: Readout) -> TypeGuard[LinearReadout]:
        return isinstance(readout, LinearReadout) and not self.model.prompt.dim

    def _empty_update(self) -> Update:
        return self._local.template()

    @property
    def _broadcasts_losses(self) -> bool:
        return not self._clients_per_round and self._participation == 1

    def _full(self, state: ServerState) -> Message:
        return Message(state.round + 1, self._seed, state.parameters)

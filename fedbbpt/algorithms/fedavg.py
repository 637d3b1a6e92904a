"""Fed-BBPT (Lin et al. 2023, arXiv 2310.03123): local zero-order steps, then FedAvg (McMahan et al. 2017)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from fedbbpt.algorithms import (
    Algorithm,
    AlgorithmContext,
    ClientContext,
    ClientReply,
    ClientSizes,
    Handler,
    MakeOptimizer,
    RoundReport,
    Send,
    ServerState,
    loss_broadcast,
)
from fedbbpt.algorithms.aggregation import weighted_mean
from fedbbpt.algorithms.calibration import Calibration, diverged, mean_loss
from fedbbpt.algorithms.evaluation import empty_score, evaluate
from fedbbpt.algorithms.local_steps import LocalSteps, Upload, kept_answers
from fedbbpt.algorithms.readout_fit import empty_statistics, fit
from fedbbpt.algorithms.sampling import number_of_clients, sample_clients
from fedbbpt.algorithms.server_optimizer import DEFAULT_LR, RULES, ServerOptimizer
from fedbbpt.errors import ConfigError
from fedbbpt.optim.noop import NoOp
from fedbbpt.types import Message, Score, Statistics, Update, Usage

LARGEST = np.finfo(np.float32).max
OPT_STATE = "opt_state/"  # in the message that lets a client catch up


class FedAvg(Algorithm):
    """Local zero-order steps on the prompt, then a weighted mean; the readout is fitted exactly on the same answers.

    Each client takes `local_steps` zero-order steps on θ; the server averages the changes, weighted by the number of
    training samples. Then it fits the readout to all answers that these steps paid for (see `readouts.Readout.fit`).

    In a round, the share `participation` of the clients takes part (at least one), or just `clients_per_round` of them;
    one alone is FedOne. A minibatch is `batch_size` examples drawn without replacement, or all that a client has.

    `upload`: every direction comes from a seed that the server knows, so that the clients' losses are enough to rebuild
    their changes, bit for bit (as in FedKSeed and DeComFL): "losses" sends those, as many bytes as there were losses
    whatever the dimension; "parameters" sends the changes themselves. `loss_dtype` is that of the losses. Where all
    clients take part and losses are fewer bytes than the parameters, they go down as well (see `loss_broadcast`).

    `calibrate` brings losses and steps to one scale (see `algorithms.calibration`), and answers divergence with the
    last good θ and half the step; without it the optimizer's options are what they are in the literature. A prompt that
    chooses has no scale, and the losses of what it tries may jump.

    `server_optimizer` says what becomes of the mean change (see `algorithms.server_optimizer`), `server_lr` how far it
    goes.
    """

    def __init__(
        self,
        context: AlgorithmContext,
        /,
        *,
        participation: Annotated[float, Field(gt=0, le=1)] = 1.0,
        clients_per_round: PositiveInt | None = None,
        local_steps: PositiveInt = 1,
        batch_size: PositiveInt = 128,
        upload: Upload = "losses",
        loss_dtype: Literal["float16", "float32"] = "float16",
        calibrate: bool = True,
        server_optimizer: ServerOptimizer = "mean",
        server_lr: PositiveFloat | None = None,
    ) -> None:
        self.model, self._seed = context.model, context.seed
        self._participation, self._clients_per_round = participation, clients_per_round
        self._calibrate, self._scaled = calibrate, not self.model.prompt.choices
        self._server_optimizer = server_optimizer
        self._server_lr = DEFAULT_LR[server_optimizer] if server_lr is None else server_lr
        make: MakeOptimizer = context.optimizer if self.model.prompt.dim else NoOp
        dtype = np.dtype(loss_dtype).type if calibrate else np.float32
        self._local = LocalSteps(self.model, make, local_steps, batch_size, upload, dtype, calibrate)

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
        """A uniform draw without replacement that depends on the seed and the round only."""
        count = number_of_clients(self._participation, self._clients_per_round, len(clients))
        return sample_clients(clients, count, self._seed, state.round + 1)

    def broadcast(self, state: ServerState) -> Message:
        """The current parameters, or the losses that lead to them."""
        told = {part: state.opt_state[part] for part in loss_broadcast.PARTS if part in state.opt_state}
        if told:
            return Message(state.round + 1, self._seed, {**told, "readout": state.parameters["readout"]})
        return self._full(state)

    def catch_up(self, state: ServerState) -> Message:
        """All parameters, and the state from which the next losses lead on."""
        more = {OPT_STATE + k: v for k, v in state.opt_state.items() if k not in loss_broadcast.PARTS}
        return Message(state.round + 1, self._seed, {**state.parameters, **more})

    def round(self, state: ServerState, send: Send) -> tuple[ServerState, RoundReport]:
        """Two kinds of exchanges: the steps, and those of the readout's fit."""
        updates = send("train", self.broadcast(state))
        new = self.aggregate(state, updates)
        if self._broadcasts_losses:
            new = loss_broadcast.with_broadcast(state, new, updates)
        readout = self.model.readout
        if readout.trainable:
            told = Message(new.round, self._seed, {})
            weights = fit(readout, new.parameters["readout"], send, told).astype(np.float32)
            new = replace(new, parameters={**new.parameters, "readout": weights})
        return new, RoundReport(mean_loss(updates))

    @np.errstate(over="ignore", invalid="ignore")
    def aggregate(self, state: ServerState, updates: Sequence[Update]) -> ServerState:
        """Adds the mean change, weighted by samples; goes back to the last good θ where the losses rose too far.

        Raises:
            ConfigError: the parameters overflowed, and `calibrate` is off.
        """
        calibration = Calibration.from_array(state.parameters["calibration"])
        opt_state = {part: values for part, values in state.opt_state.items() if part not in loss_broadcast.PARTS}
        parameters, loss = dict(state.parameters), mean_loss(updates)
        rebuilt = [self._local.replay(self._full(state), update) for update in updates]
        finite = all((np.abs(part) < LARGEST).all() for change in rebuilt for part in change.values())
        if not (finite or self._calibrate):
            raise ConfigError(
                "the prompt diverged beyond all numbers; start a new run with smaller steps (-o optimizer.a, or "
                "optimizer.sigma), or with -o algorithm.calibrate=true"
            )
        lowest = float(opt_state["lowest"][0]) if "lowest" in opt_state else np.inf
        if self._calibrate and (not finite or (self._scaled and diverged(loss, lowest))):
            fresh = self.init().parameters["optimizer"]
            opt_state = {part: opt_state[part] for part in ("lowest", "good") if part in opt_state}  # no momentum
            parameters |= {"prompt": opt_state.get("good", parameters["prompt"]), "optimizer": fresh}
            calibration = calibration.scaled(0.5) if self._scaled else calibration
        else:
            if loss < lowest:
                opt_state |= {"lowest": np.array([loss], np.float32), "good": parameters["prompt"]}
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
            told = message.parameters
            known = told if "prompt" in told else {**self.init().parameters, "readout": told["readout"]}
            return empty_score(self.model, known)
        if handler == "fit_statistics":
            scores = np.zeros((0, 1, len(self.model.info.classes)), np.float32)
            return empty_statistics(self.model.readout, message.parameters["readout"], scores)
        return Update("", {}, 0, math.nan, Usage()) if handler == "catch_up" else self._empty_update()

    def expected_usage(self, client: ClientSizes, round_: int) -> Usage:
        """See `Algorithm`; without a prompt nothing, since the answers are remembered."""
        return self._local.usage(client.train)

    def parameter_counts(self, rounds: int) -> dict[str, int]:
        """See `Algorithm`."""
        return {"prompt": self.model.prompt.dim, "readout": len(self.model.readout.init(1))}

    @np.errstate(over="ignore", invalid="ignore")  # `aggregate` sees what overflowed
    def _train(self, message: Message, ctx: ClientContext) -> Update:
        return self._local.train(loss_broadcast.follow(message, ctx, self.aggregate), ctx)

    def _fit_statistics(self, message: Message, ctx: ClientContext) -> Statistics:
        statistics = self.model.readout.statistics(message.parameters["readout"], kept_answers(ctx))
        return Statistics(statistics.astype(np.float32))

    def _evaluate(self, message: Message, ctx: ClientContext) -> Score:
        followed = loss_broadcast.follow(message, ctx, self.aggregate)
        return evaluate(ctx, followed.parameters, message.subset)

    def _catch_up(self, message: Message, ctx: ClientContext) -> Update:
        opt_state = {k.removeprefix(OPT_STATE): v for k, v in message.parameters.items() if k.startswith(OPT_STATE)}
        parameters = {k: v for k, v in message.parameters.items() if not k.startswith(OPT_STATE)}
        loss_broadcast.remember(ctx, ServerState(message.round - 1, parameters, opt_state))
        return Update(ctx.id, {}, len(ctx.data.train), math.nan, Usage())

    def _empty_update(self) -> Update:
        return self._local.template()

    @property
    def _broadcasts_losses(self) -> bool:
        return not self._clients_per_round and self._participation == 1

    def _full(self, state: ServerState) -> Message:
        return Message(state.round + 1, self._seed, state.parameters)

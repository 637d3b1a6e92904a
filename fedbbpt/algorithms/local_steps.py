"""A client's zero-order steps on the prompt, and their replay at the server from the losses alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ClientContext, MakeOptimizer, OutOfDateError
from fedbbpt.algorithms.calibration import Calibration, finite_mean, spread_of
from fedbbpt.algorithms.loss_broadcast import TUNED
from fedbbpt.algorithms.sampling import minibatch, rng_of, rounded
from fedbbpt.objective import Objective, PromptedModel
from fedbbpt.optim import Optimizer, OptimizerStart
from fedbbpt.readouts import ReadoutData
from fedbbpt.types import Batch, Dataset, Float32, Floats, Int64, Message, Update, Usage

Upload = Literal["losses", "parameters"]


@dataclass(frozen=True)
class LocalSteps:
    """What a client does between two messages of `fedavg`; see there for the options."""

    model: PromptedModel
    make_optimizer: MakeOptimizer
    local_steps: int
    batch_size: int
    upload: Upload
    loss_dtype: type[np.floating[Any]]
    calibrate: bool

    def train(self, message: Message, ctx: ClientContext) -> Update:
        """Takes the steps; the answers that they paid for stay in the client's scratch, for the readout's fit."""
        batches = rng_of(message, ctx.id, "batches")
        asked = Asked(ctx, self.model)
        optimizer = self.optimizer(message, ctx.id)
        calibration = Calibration.from_array(message.parameters["calibration"])
        told, losses = [], []
        for _ in range(self.local_steps):
            batch = self.batch(ctx.data.train, batches)
            scores = asked.answers(calibration.scale * optimizer.ask(), batch)  # (n, b, V, C)
            losses.append(self.model.losses(message.parameters["readout"], scores, batch.labels))  # (n,)
            calibration = calibration.with_initial_spread(losses[-1])
            told.append(self._reported(calibration, losses[-1]))
            optimizer.tell(told[-1])
        asked.keep()
        payload: Mapping[str, NDArray[Any]] = {"losses": np.stack(told)}
        if self.uploads_parameters:
            payload = self._changes(message, calibration.scale, optimizer)
        stds = np.array([spread_of(step) for step in losses])
        return Update(
            ctx.id,
            payload,
            len(ctx.data.train),
            rounded(finite_mean(np.concatenate(losses))),
            asked.usage,
            rounded(np.sqrt(finite_mean(stds**2))),
        )

    def replay(self, message: Message, update: Update) -> Mapping[str, NDArray[Any]]:
        """A client's changes of the parameters: as it sent them, or rebuilt from its losses, to the same bits."""
        if "losses" not in update.payload:
            return update.payload
        optimizer = self.optimizer(message, update.client)
        for losses in update.payload["losses"]:
            optimizer.ask()
            optimizer.tell(losses)
        return self._changes(message, Calibration.from_array(message.parameters["calibration"]).scale, optimizer)

    def template(self) -> Update:
        """The update of a client without data."""
        theta = np.zeros(self.model.prompt.dim, np.float32)
        optimizer = self.fresh(theta)
        payload: dict[str, NDArray[Any]] = {
            "losses": np.full((self.local_steps, optimizer.population_size), np.nan, self.loss_dtype)
        }
        if self.uploads_parameters:
            payload = {"prompt": theta, "optimizer": np.zeros(optimizer.state.shape, np.float32)}
        return Update("", payload, 0, math.nan, Usage())

    def usage(self, examples: int) -> Usage:
        """What `train` will ask for with so many examples; nothing without a prompt, since answers are remembered."""
        if not self.model.prompt.dim:
            return Usage()
        candidates = self.fresh(np.zeros(self.model.prompt.dim)).population_size
        return self.model.usage(candidates, min(self.batch_size, examples)).times(self.local_steps)

    @property
    def uploads_parameters(self) -> bool:
        """Whether the changes themselves travel."""
        return self.upload == "parameters" or not self.model.prompt.dim

    def fresh(self, x: Floats) -> Optimizer:
        """The optimizer at the start of a run."""
        return self.make_optimizer(OptimizerStart(x.astype(np.float64), np.random.default_rng(0)))

    def optimizer(self, message: Message, client: str) -> Optimizer:
        """The optimizer with which a client starts into a round; the server can make the same."""
        scale = Calibration.from_array(message.parameters["calibration"]).scale
        x, state = (message.parameters[part].astype(np.float64) for part in TUNED)
        rng = rng_of(message, client, "directions")
        return self.make_optimizer(OptimizerStart(x / scale, rng, (message.round - 1) * self.local_steps, state))

    def batch(self, data: Dataset, rng: np.random.Generator) -> Batch:
        """A minibatch; without a prompt everything, since each input is asked about once only."""
        return minibatch(data, self.batch_size if self.model.prompt.dim else len(data), rng)

    def _reported(self, calibration: Calibration, losses: NDArray[np.float64]) -> NDArray[Any]:
        return (calibration.standardise(losses) if self.calibrate else losses).astype(self.loss_dtype)

    def _changes(self, message: Message, scale: float, optimizer: Optimizer) -> Mapping[str, Float32]:
        """New minus received parameters."""
        new = {"prompt": scale * optimizer.x, "optimizer": optimizer.state}
        return {part: (new[part] - message.parameters[part]).astype(np.float32) for part in TUNED}


class Asked:
    """A client's questions of one round: asks, counts, and keeps the answers for the readout's fit."""

    def __init__(self, ctx: ClientContext, model: PromptedModel) -> None:
        self._ctx, self._model = ctx, model
        self._objective, self._meter = ctx.metered()
        self._remembered = Usage()
        self._scores: list[Float32] = []
        self._labels: list[Int64] = []

    @property
    def usage(self) -> Usage:
        """What the questions cost so far."""
        return self._meter.usage + self._remembered

    @property
    def objective(self) -> Objective:
        """The client's objective, metered."""
        return self._objective

    def answers(self, candidates: Floats, batch: Batch) -> Float32:
        """Scores (n, b, V, C); without a prompt those of all training examples, which are asked about once."""
        if self._model.prompt.dim:
            scores = self._objective.answers(candidates, batch)
        else:
            known, cost = self._ctx.unprompted_scores("train")
            self._remembered += cost
            scores = np.repeat(known[None], len(candidates), 0)
        self._scores.append(scores.reshape(-1, *scores.shape[2:]))
        self._labels.append(np.tile(batch.labels, len(scores)))
        return scores

    def keep(self) -> None:
        """Leaves the answers in the client's scratch, ready for `kept_answers`."""
        answered = self._model.readout.fit_data(np.concatenate(self._scores), np.concatenate(self._labels))
        keep_answers(self._ctx, answered)


def keep_answers(ctx: ClientContext, answers: ReadoutData) -> None:
    """Puts the answers that the readout is to be fitted to into the client's scratch."""
    ctx.scratch.update(answers._asdict())


def kept_answers(ctx: ClientContext) -> ReadoutData:
    """The answers that the readout is to be fitted to.

    Raises:
        OutOfDateError: the client has asked nothing in this round.
    """
    if "labels" not in ctx.scratch:
        raise OutOfDateError
    return ReadoutData(*(ctx.scratch[name] for name in ReadoutData._fields))

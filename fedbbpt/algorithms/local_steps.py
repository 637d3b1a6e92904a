"""A client's zero-order steps on the prompt, and their replay from the losses alone at the server."""

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
    """The local steps of `fedavg`; see there for the options."""

    model: PromptedModel
    make_optimizer: MakeOptimizer
    local_steps: int
    batch_size: int
    upload: Upload
    loss_dtype: type[np.floating[Any]]
    calibrate: bool
    clients: int  # that take part in a round

    def train(self, message: Message, ctx: ClientContext) -> Update:
        """Takes the steps, and stores their scores in the client's scratch for the readout's fit."""
        batches = rng_of(message, ctx.id, "batches")
        queries = StepQueries(ctx, self.model)
        optimizer = self.optimizer(message, ctx.id)
        calibration = Calibration.from_array(message.parameters["calibration"])
        reported, losses = [], []
        for _ in range(self.local_steps):
            batch = self.batch(ctx.data.train, batches)
            scores = queries.answers(calibration.scale * optimizer.ask(), batch)  # (n, b, V, C)
            losses.append(self.model.losses(message.parameters["readout"], scores, batch.labels))  # (n,)
            calibration = calibration.with_initial_spread(losses[-1])
            reported.append(self._standardised(calibration, losses[-1]))
            optimizer.tell(reported[-1])
        queries.store()
        payload: Mapping[str, NDArray[Any]] = {"losses": np.stack(reported)}
        if self.uploads_parameters:
            payload = self._changes(message, calibration.scale, optimizer)
        stds = np.array([spread_of(step) for step in losses])
        return Update(
            ctx.id,
            payload,
            len(ctx.data.train),
            rounded(finite_mean(np.concatenate(losses))),
            queries.usage,
            rounded(np.sqrt(finite_mean(stds**2))),
        )

    def replay(self, message: Message, update: Update) -> Mapping[str, NDArray[Any]]:
        """A client's changes of the parameters: as sent, or rebuilt from its losses, bit for bit."""
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
        """The usage of `train` with this number of examples; nothing without a prompt, since scores are remembered."""
        if not self.model.prompt.dim:
            return Usage()
        candidates = self.fresh(np.zeros(self.model.prompt.dim)).population_size
        return self.model.usage(candidates, min(self.batch_size, examples)).times(self.local_steps)

    @property
    def uploads_parameters(self) -> bool:
        """Whether clients send the changes themselves."""
        return self.upload == "parameters" or not self.model.prompt.dim

    def fresh(self, x: Floats) -> Optimizer:
        """The optimizer at the start of a run."""
        return self.make_optimizer(OptimizerStart(x.astype(np.float64), np.random.default_rng(0), clients=self.clients))

    def optimizer(self, message: Message, client: str) -> Optimizer:
        """The optimizer of a client at the start of a round; client and server build the same one."""
        scale = Calibration.from_array(message.parameters["calibration"]).scale
        x, state = (message.parameters[part].astype(np.float64) for part in TUNED)
        rng, step = rng_of(message, client, "directions"), (message.round - 1) * self.local_steps
        return self.make_optimizer(OptimizerStart(x / scale, rng, step, state, clients=self.clients))

    def batch(self, data: Dataset, rng: np.random.Generator) -> Batch:
        """A minibatch; all data without a prompt, since each input is then queried only once."""
        return minibatch(data, self.batch_size if self.model.prompt.dim else len(data), rng)

    def _standardised(self, calibration: Calibration, losses: NDArray[np.float64]) -> NDArray[Any]:
        return (calibration.standardise(losses) if self.calibrate else losses).astype(self.loss_dtype)

    def _changes(self, message: Message, scale: float, optimizer: Optimizer) -> Mapping[str, Float32]:
        """New minus received parameters."""
        new = {"prompt": scale * optimizer.x, "optimizer": optimizer.state}
        return {part: (new[part] - message.parameters[part]).astype(np.float32) for part in TUNED}


class StepQueries:
    """A client's queries in one round; counts them, and collects the scores for the readout's fit."""

    def __init__(self, ctx: ClientContext, model: PromptedModel) -> None:
        self._ctx, self._model = ctx, model
        self._objective, self._meter = ctx.metered()
        self._remembered = Usage()
        self._scores: list[Float32] = []
        self._labels: list[Int64] = []

    @property
    def usage(self) -> Usage:
        """The usage so far."""
        return self._meter.usage + self._remembered

    @property
    def objective(self) -> Objective:
        """The client's objective, metered."""
        return self._objective

    def answers(self, candidates: Floats, batch: Batch) -> Float32:
        """Scores (n, b, V, C); without a prompt, those of all training examples, which are queried only once."""
        if self._model.prompt.dim:
            scores = self._objective.answers(candidates, batch)
        else:
            known, cost = self._ctx.unprompted_scores("train")
            self._remembered += cost
            scores = np.repeat(known[None], len(candidates), 0)
        self._scores.append(scores.reshape(-1, *scores.shape[2:]))
        self._labels.append(np.tile(batch.labels, len(scores)))
        return scores

    def store(self) -> None:
        """Stores the collected scores in the client's scratch, for `stored_fit_data`."""
        data = self._model.readout.fit_data(np.concatenate(self._scores), np.concatenate(self._labels))
        store_fit_data(self._ctx, data)


def store_fit_data(ctx: ClientContext, data: ReadoutData) -> None:
    """Stores the data that the readout is fitted to in the client's scratch."""
    ctx.scratch.update(data._asdict())


def stored_fit_data(ctx: ClientContext) -> ReadoutData:
    """The data that the readout is fitted to.

    Raises:
        OutOfDateError: the client has made no queries in this round.
    """
    if "labels" not in ctx.scratch:
        raise OutOfDateError
    return ReadoutData(*(ctx.scratch[name] for name in ReadoutData._fields))

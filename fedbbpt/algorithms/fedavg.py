"""Fed-BBPT (Lin et al. 2023, arXiv 2310.03123): local zero-order steps, then FedAvg (McMahan et al. 2017)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from fedbbpt.algorithms import Parts, State
from fedbbpt.algorithms.aggregate import weighted_mean
from fedbbpt.backend import Meter
from fedbbpt.errors import ConfigError
from fedbbpt.objective import Objective, usage
from fedbbpt.optim.still import Still
from fedbbpt.readout import cross_entropy
from fedbbpt.types import Batch, Client, Dataset, Float32, Floats, Message, Score, Update, Usage


class FedAvg:
    """Local zero-order steps on the prompt and exact steps on the readout, then a weighted mean.

    Each client takes `local_steps` zero-order steps on θ and fits the readout on the same answers; the server averages
    the changes, weighted by the number of training samples.

    `fraction` of the clients (at least one) takes part in a round. A minibatch is `batch_size` examples drawn without
    replacement, or all that a client has.
    """

    federated = True

    def __init__(
        self,
        parts: Parts,
        /,
        *,
        fraction: Annotated[float, Field(gt=0, le=1)] = 1.0,
        local_steps: PositiveInt = 1,
        batch_size: PositiveInt = 32,
    ) -> None:
        self._objective, self._make_optimizer, self._seed = parts
        if self._objective.prompt.dim == 0:
            self._make_optimizer = Still
        self._fraction, self._local_steps, self._batch_size = fraction, local_steps, batch_size

    def init(self) -> State:
        """The prompt's and the readout's own initial parameters."""
        rng = np.random.default_rng(self._seed)
        return State(0, {"prompt": self._objective.prompt.init(rng), "readout": self._objective.readout.init()})

    def sample(self, state: State, clients: Sequence[Client]) -> list[Client]:
        """A uniform draw without replacement that depends on the seed and the round only."""
        rng = np.random.default_rng([self._seed, state.round + 1])
        count = max(1, round(self._fraction * len(clients)))
        return [clients[i] for i in sorted(rng.choice(len(clients), count, replace=False))]

    def broadcast(self, state: State) -> Message:
        """The current parameters."""
        return Message(state.round + 1, self._seed, state.parameters)

    def local(self, message: Message, client: Client) -> Update:
        """Zero-order steps on the prompt, exact gradients on the readout, both from the same answers."""
        rng = np.random.default_rng([message.seed, message.round, *client.id.encode()])
        objective, meter = self._metered()
        optimizer = self._make_optimizer(message.parameters["prompt"], rng, (message.round - 1) * self._local_steps)
        weights = message.parameters["readout"].astype(np.float64)
        losses = []
        for _ in range(self._local_steps):
            batch = draw(client.train, self._batch_size, rng)
            scores = objective.answers(optimizer.ask(), batch)  # (n, b, C)
            losses.append(objective.losses(weights, scores, batch.labels))  # (n,)
            optimizer.tell(losses[-1])
            weights = objective.readout.fit(weights, scores, batch.labels)
        trained = {"prompt": optimizer.x, "readout": weights}
        change = {part: _change(client.id, part, message.parameters[part], new) for part, new in trained.items()}
        measured = np.concatenate(losses)
        measured = measured[np.isfinite(measured)]
        loss = float(measured.mean()) if len(measured) else float("nan")
        return Update(client.id, change, len(client.train), loss, meter.usage)

    def merge(self, state: State, updates: Sequence[Update]) -> State:
        """Adds the mean change, weighted by samples."""
        change = weighted_mean([u.change for u in updates], [u.weight for u in updates])
        parameters = {p: (old + change[p]).astype(np.float32) for p, old in state.parameters.items()}
        return replace(state, round=state.round + 1, parameters=parameters)

    def score(self, split: str, message: Message, client: Client) -> Score:
        """One pass over the client's split."""
        objective, meter = self._metered()
        data: Dataset = getattr(client, split)
        theta, weights = message.parameters["prompt"], message.parameters["readout"]
        classes = len(objective.readout.log_probabilities(weights, np.zeros(len(meter.info.classes), np.float32)))
        confusion = np.zeros((classes, classes), np.int64)
        loss_sum, unanswered = 0.0, 0
        for start in range(0, len(data), meter.info.batch_limit):
            batch = data.batch(slice(start, start + meter.info.batch_limit))
            log_p = objective.readout.log_probabilities(weights, objective.answers(theta[None], batch)[0])  # (b, K)
            answered = ~np.isnan(log_p).any(1)
            np.add.at(confusion, (batch.labels[answered], log_p[answered].argmax(1)), 1)
            loss_sum += float(cross_entropy(log_p, batch.labels)[answered].sum())
            unanswered += int((~answered).sum())
        return Score(client.id, confusion, loss_sum, unanswered, meter.usage)

    def plan(self, client: Client) -> Usage:
        """See `Algorithm`."""
        prompt, limit = self._objective.prompt, self._objective.backend.info.batch_limit
        candidates = self._make_optimizer(np.zeros(prompt.dim), np.random.default_rng(0), 0).population
        step = usage(candidates, min(self._batch_size, len(client.train)), limit)
        return Usage(step.queries * self._local_steps, step.calls * self._local_steps)

    def _metered(self) -> tuple[Objective, Meter]:
        """The objective over a meter of its own, so that clients may run side by side."""
        meter = Meter(self._objective.backend)
        return self._objective._replace(backend=meter), meter


def _change(client: str, part: str, old: Float32, new: Floats) -> Float32:
    """New minus old as it travels; whatever does not fit into float32 is not worth sending."""
    change = new - old
    if not (np.abs(change) < np.finfo(np.float32).max).all():
        raise ConfigError(
            f"the {part} of {client} diverged beyond all numbers; start a new run with smaller steps "
            "(-o optimizer.a, or optimizer.sigma)"
        )
    return change.astype(np.float32)


def draw(data: Dataset, size: int, rng: np.random.Generator) -> Batch:
    """A minibatch without replacement; all of the data, in order, where there are no more than `size`."""
    if len(data) <= size:
        return data.batch(slice(None))
    return data.batch(rng.choice(len(data), size, replace=False))

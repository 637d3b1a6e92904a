"""How parameters do on a client's data, every query counted."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import Meter
from fedbbpt.objective import Objective
from fedbbpt.readouts import cross_entropy
from fedbbpt.types import Batch, Dataset, Int64, Parameters, Score, Usage

Float64 = NDArray[np.float64]


def metered(objective: Objective) -> tuple[Objective, Meter]:
    """The objective over a meter of its own, so that clients may run side by side."""
    meter = Meter(objective.backend)
    return objective._replace(backend=meter), meter


def cost(objective: Objective, views: int, examples: int) -> Usage:
    """Exactly what `score` will ask for on so many examples under so many views, without asking."""
    limit = objective.backend.info.max_batch
    full, rest = divmod(examples, limit)
    last = objective.usage(views, rest) if rest else Usage()
    return objective.usage(views, limit).times(full) + last


def score(objective: Objective, parameters: Parameters, client: str, data: Dataset) -> Score:
    """One pass over the data, `max_batch` examples at a time."""
    objective, meter = metered(objective)
    theta, weights = parameters["prompt"], parameters["readout"]
    views, inputs = objective.views(theta).shape[0], len(meter.info.classes)
    classes = objective.readout.log_probabilities(weights, np.zeros((views, inputs), np.float32)).shape[-1]

    def predict(batch: Batch) -> Float64:
        return objective.readout.log_probabilities(weights, objective.answers(theta[None], batch)[0])

    return Score(client, *tally(data, meter.info.max_batch, classes, predict), meter.usage)


def blank_score(objective: Objective, parameters: Parameters) -> Score:
    """The score of no data."""
    height, width = objective.backend.info.input_size or (0, 0)
    texts = objective.backend.info.input_size is None
    inputs = np.zeros(0, object) if texts else np.zeros((0, 3, height, width), np.uint8)
    return score(objective, parameters, "", Dataset(inputs, np.zeros(0, np.int64)))


def tally(data: Dataset, limit: int, classes: int, predict: Callable[[Batch], Float64]) -> tuple[Int64, float, int]:
    """Confusion, sum of losses and unanswered examples of a `Score`, from log-probabilities (b, K) of `limit` each."""
    confusion = np.zeros((classes, classes), np.int64)
    loss_sum, unanswered = 0.0, 0
    for start in range(0, len(data), limit):
        batch = data.batch(slice(start, start + limit))
        log_p = predict(batch)
        answered = ~np.isnan(log_p).any(1)
        np.add.at(confusion, (batch.labels[answered], log_p[answered].argmax(1)), 1)
        loss_sum += float(cross_entropy(log_p, batch.labels)[answered].sum())
        unanswered += int((~answered).sum())
    return confusion, loss_sum, unanswered

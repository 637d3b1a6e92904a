"""Scores parameters on a client's data, and counts the queries."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms.client import ClientContext
from fedbbpt.objective import PromptedModel
from fedbbpt.readouts import cross_entropy
from fedbbpt.types import Batch, Dataset, Int64, Message, Parameters, Score, Subset, Usage

Float64 = NDArray[np.float64]


def subset_of(message: Message) -> Subset:
    """The subset of the client's data that a message asks to evaluate.

    Raises:
        ValueError: the message names none.
    """
    if message.subset is None:
        raise ValueError("the message for 'evaluate' has no subset; expected train, validation or test")
    return message.subset


def evaluate(ctx: ClientContext, parameters: Parameters, message: Message) -> Score:
    """Scores the parameters in one pass over the message's subset of the client's data, `max_batch` examples at a time.

    Raises:
        ValueError: the message names no subset.
    """
    subset, (objective, meter) = subset_of(message), ctx.metered()
    theta, weights = parameters["prompt"], parameters["readout"]
    unprompted, cost = (None, Usage()) if objective.prompt.dim else ctx.unprompted_scores(subset)

    def predict(batch: Batch, rows: slice) -> Float64:
        scores = objective.answers(theta[None], batch)[0] if unprompted is None else unprompted[rows]
        return objective.readout.log_probabilities(weights, scores)

    counts = tally(ctx.data.subset(subset), meter.info.max_batch, classes_of(objective, parameters), predict)
    return Score(ctx.id, *counts, meter.usage + cost)


def empty_score(model: PromptedModel, parameters: Parameters) -> Score:
    """The score of a client without data."""
    classes = classes_of(model, parameters)
    return Score("", np.zeros((classes, classes), np.int64), 0.0, 0, Usage())


def classes_of(model: PromptedModel, parameters: Parameters) -> int:
    """The number of classes K that the readout distinguishes."""
    prompts = model.split_prompts(parameters["prompt"]).shape[0]
    scores = np.zeros((prompts, len(model.info.classes)), np.float32)
    return int(model.readout.log_probabilities(parameters["readout"], scores).shape[-1])


def expected_usage(model: PromptedModel, prompts: int, examples: int) -> Usage:
    """The exact usage of `evaluate` on this number of examples under this number of prompts."""
    limit = model.info.max_batch
    full, rest = divmod(examples, limit)
    last = model.usage(prompts, rest) if rest else Usage()
    return model.usage(prompts, limit).times(full) + last


def tally(
    data: Dataset, limit: int, classes: int, predict: Callable[[Batch, slice], Float64]
) -> tuple[Int64, float, int]:
    """Computes the confusion matrix (K, K), the summed loss (nats) and the number of unanswered examples.

    Args:
        data: the examples to score.
        limit: the most examples per call of `predict`.
        classes: K.
        predict: returns log-probabilities (b, K) of a batch, given also its rows; NaN where a query failed.
    """
    confusion = np.zeros((classes, classes), np.int64)
    loss_sum, unanswered = 0.0, 0
    for start in range(0, len(data), limit):
        rows = slice(start, start + limit)
        batch = data.batch(rows)
        log_p = predict(batch, rows)
        answered = ~np.isnan(log_p).any(1)
        np.add.at(confusion, (batch.labels[answered], log_p[answered].argmax(1)), 1)
        loss_sum += float(cross_entropy(log_p, batch.labels)[answered].sum())
        unanswered += int((~answered).sum())
    return confusion, loss_sum, unanswered

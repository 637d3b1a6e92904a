"""Scores parameters on a client's data, and counts the queries."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms.client import ClientContext
from fedbbpt.algorithms.pairs import pair_up
from fedbbpt.objective import PromptedModel
from fedbbpt.readouts import cross_entropy
from fedbbpt.types import Batch, Dataset, Int64, Message, Parameters, Score, Subset, Traffic, Usage

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

    tallied = tally(ctx.data.subset(subset), meter.info.max_batch, classes_of(objective, parameters), predict)
    return score_of(ctx, message, tallied, meter.usage + cost)


class Tally(NamedTuple):
    """What predictions add up to."""

    confusion: Int64  # (K, K): true class by predicted class, of answered examples only
    loss_sum: float  # nats, of answered examples only
    unanswered: int
    right: NDArray[np.bool_]  # (N,): by example


def score_of(
    ctx: ClientContext,
    message: Message,
    tallied: Tally,
    usage: Usage,
    traffic: Traffic = Traffic(),  # noqa: B008 - frozen
) -> Score:
    """The client's score. On test data it also counts the examples on which earlier scores differ (`pairs`)."""
    pairs = pair_up(ctx.memory, ctx.part, message, tallied.right) if subset_of(message) == "test" else {}
    return Score(ctx.id, tallied.confusion, tallied.loss_sum, tallied.unanswered, usage, traffic, pairs)


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


def tally(data: Dataset, limit: int, classes: int, predict: Callable[[Batch, slice], Float64]) -> Tally:
    """Compares predictions with labels; an unanswered example is not right.

    Args:
        data: the examples to score.
        limit: the most examples per call of `predict`.
        classes: K.
        predict: returns log-probabilities (b, K) of a batch, given also its rows; NaN where a query failed.
    """
    confusion = np.zeros((classes, classes), np.int64)
    loss_sum, unanswered, right = 0.0, 0, np.zeros(len(data), np.bool_)
    for start in range(0, len(data), limit):
        rows = slice(start, start + limit)
        batch = data.batch(rows)
        log_p = predict(batch, rows)
        answered = ~np.isnan(log_p).any(1)
        predicted = log_p[answered].argmax(1)
        np.add.at(confusion, (batch.labels[answered], predicted), 1)
        right[rows][answered] = predicted == batch.labels[answered]
        loss_sum += float(cross_entropy(log_p, batch.labels)[answered].sum())
        unanswered += int((~answered).sum())
    return Tally(confusion, loss_sum, unanswered, right)

"""Scores over all clients, and the baselines that a prompt has to beat."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fedbbpt.algorithms import Algorithm, ClientSizes, CrossValidated, ModelSelection, ServerState
from fedbbpt.algorithms.pairs import score_name
from fedbbpt.engines import BASELINE, TUNED, Engine
from fedbbpt.errors import BackendError, ConfigError, FedbbptError
from fedbbpt.run.checkpoint import Best
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.run.experiment import Experiment
from fedbbpt.types import Int64, Score, Subset, Usage


class Paired(NamedTuple):
    """How two results differ on the same examples."""

    examples: int  # of all clients that compared the two
    won: int  # right in one result, and wrong in the one that it is compared with
    lost: int  # the reverse


@dataclass(frozen=True)
class Result:
    """The sum of all clients' scores on one subset."""

    scores: list[Score]
    pool: MeteredClientPool  # the cost, and the clients without a usable score
    name: str = ""  # under which clients remember it, see `algorithms.pairs`

    @property
    def confusion(self) -> Int64:
        """(K, K): true class by predicted class."""
        total: Int64 = np.sum([s.confusion for s in self.scores], axis=0)
        return total

    @property
    def examples(self) -> int:
        """The number of examples, the unanswered ones among them."""
        return sum(s.examples for s in self.scores)

    @property
    def accuracy(self) -> float:
        """The share of correct predictions; unanswered examples count as wrong."""
        return float(np.trace(self.confusion) / self.examples) if self.examples else float("nan")

    @property
    def macro_f1(self) -> float:
        """The mean F1 over the classes that occur, from the answered examples."""
        right, actual, predicted = np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(0)
        occurs = actual > 0
        return float(np.mean(2 * right[occurs] / (actual + predicted)[occurs])) if occurs.any() else float("nan")

    @property
    def loss(self) -> float:
        """The mean cross-entropy (nats) of the answered examples."""
        answered = int(self.confusion.sum())
        return sum(s.loss_sum for s in self.scores) / answered if answered else float("nan")

    @property
    def usage(self) -> Usage:
        """The usage of all clients."""
        return self.pool.usage

    def beside(self, other: "Result | None") -> Paired | None:
        """How this result differs from an earlier one, by the clients that remember it; None if none does."""
        known = [(s.examples, *s.pairs[other.name]) for s in self.scores if other and other.name in s.pairs]
        return Paired(*map(sum, zip(*known, strict=True))) if known else None


def evaluate(
    algorithm: Algorithm,
    state: ServerState,
    clients: Sequence[ClientSizes],
    subset: Subset,
    engine: Engine,
    *,
    name: str = TUNED,
) -> Result:
    """Scores the state's parameters on a subset of all clients' data; see `Engine.partial_scores` for missing ones."""
    pool = MeteredClientPool(engine, algorithm, clients, state, name=name, may_drop=engine.partial_scores)
    message = replace(algorithm.broadcast(state), subset=subset)
    return Result(pool.send("evaluate", message), pool, score_name(name, message))


def no_answers_error(experiment: Experiment, where: str) -> FedbbptError:
    """The error if all queries failed, or all scores are NaN."""
    if experiment.algorithm.access == "white-box":
        return ConfigError(
            f"the parameters diverged: the scores of {where} are not numbers; start a new run with smaller steps "
            "(-o algorithm.lr, -o algorithm.self_update_lr)"
        )
    client = experiment.backend.service_client
    said = (client and client.refusals.last_error) or "no reply, or scores that are not numbers"
    again = "; what was refused is asked again after fedbbpt cache clear --refused" if client else ""
    return BackendError(
        f"the model answered none of the queries for {where} ({said}); nothing is lost: once it answers, continue "
        f"with --resume{again}"
    )


def select_best(
    result: Result,
    state: ServerState,
    best: Best | None,
    selection: ModelSelection,
    cross_validated: CrossValidated | None = None,
    least_gain: float = 0.0,
) -> Best:
    """Selects the new state or the best one so far, by their validation scores.

    "best" selects the lower loss, then the higher accuracy, then the earlier state: with few examples, the loss is
    more informative than the accuracy. "last" selects the new state if its loss is not above that of the start. Where
    the new state's readout was cross-validated, that and the validation accuracy together decide in place of the loss,
    of which a model that is always sure has so much that any readout lowers it; `least_gain` as in the config.
    """
    loss = math.inf if math.isnan(result.loss) else result.loss
    if best is None:
        return Best(state.round, result.accuracy, loss, result.accuracy, loss, state.parameters)
    if cross_validated is not None:
        gain = round(result.examples * (result.accuracy - best.start_accuracy)) if result.examples else 0
        is_better = cross_validated.shows_gain(result.examples, gain, least_gain)
    elif selection == "best":
        is_better = (-loss, result.accuracy) > (-best.loss, best.accuracy)
    else:
        is_better = loss <= best.start_loss
    if not is_better:
        return best
    return replace(best, round=state.round, accuracy=result.accuracy, loss=loss, parameters=state.parameters)


@dataclass(frozen=True)
class Baselines:
    """Results without a prompt, from one query per unprompted input."""

    zero_shot: Result | None  # untrained readout; None for other classes than the task's, or without a queryable model
    readout_alone: Result | None  # trained readout; None if it has no weights, or if the run itself has no prompt
    pools: Sequence[MeteredClientPool] = ()  # the cost of both


def baselines(experiment: Experiment, engine: Engine) -> Baselines:
    """Scores zero-shot, and the readout alone: fitted to unprompted scores, selected on the validation data.

    Each input is queried once, by the client that holds it.
    """
    if not experiment.algorithm.is_queryable:
        return Baselines(None, None)
    algorithm, clients, pools = experiment.baseline, experiment.client_sizes, list[MeteredClientPool]()

    def scored(state: ServerState, subset: Subset) -> Result:
        result = evaluate(algorithm, state, clients, subset, engine, name=BASELINE)
        pools.append(result.pool)
        return result

    state = algorithm.init()
    zero_shot = scored(state, "test") if experiment.same_classes else None
    if not _fits_readout_alone(experiment):
        return Baselines(zero_shot, None, pools)
    best = select_best(scored(state, "validation"), state, None, algorithm.model_selection)
    sampled = algorithm.sample(state, clients)
    pool = MeteredClientPool(engine, algorithm, sampled, state, name=BASELINE, may_drop=engine.partial_scores)
    pools.append(pool)
    state, report = algorithm.round(state, pool.send)
    evidence = algorithm.model_selection, report.cross_validated, experiment.config.least_gain
    best = select_best(scored(state, "validation"), state, best, *evidence)
    if best.round == state.round and "select" in algorithm.handlers:
        pool.send("select", algorithm.broadcast(state))
    readout_alone = scored(ServerState(best.round, best.parameters), "test")
    return Baselines(zero_shot, readout_alone, pools)


def most_baseline_exchanges(experiment: Experiment) -> int:
    """The most exchanges of `baselines`."""
    if not experiment.algorithm.is_queryable:
        return 0
    zero_shot = 1 if experiment.same_classes else 0
    selects = 1 if experiment.baseline.shares_parameters and "select" in experiment.baseline.handlers else 0
    alone = 3 + experiment.baseline.most_exchanges(1) + selects if _fits_readout_alone(experiment) else 0
    return zero_shot + alone


def _fits_readout_alone(experiment: Experiment) -> bool:
    return bool(experiment.prompt.dim and experiment.readout.trainable)

"""Scores over all clients, and the baselines that a prompt has to beat."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedbbpt.algorithms import Algorithm, ClientSizes, ModelSelection, ServerState
from fedbbpt.engines import BASELINE, TUNED, Engine
from fedbbpt.errors import BackendError, ConfigError, FedbbptError
from fedbbpt.run.checkpoint import Best
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.run.setup import Experiment
from fedbbpt.types import Int64, Score, Subset, Usage


@dataclass(frozen=True)
class Result:
    """The scores of all clients on one split, added up."""

    scores: list[Score]
    pool: MeteredClientPool  # what it cost, and whose scores cannot be used

    @property
    def confusion(self) -> Int64:
        """(K, K): true class by predicted class."""
        total: Int64 = np.sum([s.confusion for s in self.scores], axis=0)
        return total

    @property
    def accuracy(self) -> float:
        """Share of the examples that were answered and answered right."""
        examples = int(self.confusion.sum()) + sum(s.unanswered for s in self.scores)
        return float(np.trace(self.confusion) / examples) if examples else float("nan")

    @property
    def macro_f1(self) -> float:
        """Mean over the tested classes of the harmonic mean of precision and recall, of the answered queries."""
        right, asked, given = np.diag(self.confusion), self.confusion.sum(1), self.confusion.sum(0)
        return float(np.mean(2 * right[asked > 0] / (asked + given)[asked > 0])) if asked.any() else float("nan")

    @property
    def loss(self) -> float:
        """Mean cross-entropy (nats) over the answered examples."""
        answered = int(self.confusion.sum())
        return sum(s.loss_sum for s in self.scores) / answered if answered else float("nan")

    @property
    def usage(self) -> Usage:
        """What was asked of the model."""
        return self.pool.usage


def evaluate(
    algorithm: Algorithm,
    state: ServerState,
    clients: Sequence[ClientSizes],
    subset: Subset,
    engine: Engine,
    *,
    name: str = TUNED,
) -> Result:
    """The state's parameters on one subset of all clients' data; no client's score is ever missing."""
    pool = MeteredClientPool(engine, algorithm, clients, state, name=name, may_drop=False)
    return Result(pool.send("evaluate", replace(algorithm.broadcast(state), subset=subset)), pool)


def no_answers_error(experiment: Experiment, where: str) -> FedbbptError:
    """What is said where no answer of the model is a number."""
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


def select_best(result: Result, state: ServerState, best: Best | None, selection: ModelSelection) -> Best:
    """Which of the two checkpoints is the best, by their validation data.

    "best": of lower loss, then of higher accuracy, then the earlier. Few shots make accuracy a coarse ruler; the loss
    tells more from the same answers. "last": the later, if its loss is not above that of the start.
    """
    loss = math.inf if math.isnan(result.loss) else result.loss
    if best is None:
        return Best(state.round, result.accuracy, loss, loss, state.parameters)
    lower = (-loss, result.accuracy) > (-best.loss, best.accuracy)
    if lower if selection == "best" else loss <= best.start:
        return Best(state.round, result.accuracy, loss, best.start, state.parameters)
    return best


@dataclass(frozen=True)
class Baselines:
    """What can be had without a prompt, from one answer to every unprompted input."""

    zero_shot: Result | None  # untrained readout; None where the classes are not the task's, or the model not here
    readout_alone: Result | None  # None without weights to train, and where the run itself is that
    usage: Usage = Usage()  # noqa: RUF009 - what both asked of the model


def baselines(experiment: Experiment, engine: Engine) -> Baselines:
    """Zero-shot, and the readout alone: fitted to the answers to the inputs as they are, the best on validation data.

    Each input is asked about once, by the client that holds it.
    """
    if not experiment.algorithm.is_queryable:
        return Baselines(None, None)
    algorithm, clients, usage = experiment.baseline, experiment.client_sizes, Usage()

    def look(state: ServerState, subset: Subset) -> Result:
        nonlocal usage
        result = evaluate(algorithm, state, clients, subset, engine, name=BASELINE)
        usage += result.usage
        return result

    state = algorithm.init()
    zero_shot = look(state, "test") if experiment.same_classes else None
    if not (experiment.prompt.dim and experiment.readout.trainable):
        return Baselines(zero_shot, None, usage)
    best = select_best(look(state, "validation"), state, None, algorithm.model_selection)
    chosen = algorithm.sample(state, clients)
    pool = MeteredClientPool(engine, algorithm, chosen, state, name=BASELINE, may_drop=False)
    state, _ = algorithm.round(state, pool.send)
    best = select_best(look(state, "validation"), state, best, algorithm.model_selection)
    if best.round == state.round and "select" in algorithm.handlers:
        pool.send("select", algorithm.broadcast(state))
    readout_alone = look(ServerState(best.round, best.parameters), "test")
    return Baselines(zero_shot, readout_alone, usage + pool.usage)

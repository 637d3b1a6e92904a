"""What a run will ask of the model, counted before anything is asked."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fedbbpt.algorithms.score import cost
from fedbbpt.backend import usage
from fedbbpt.errors import BudgetError
from fedbbpt.run.config import Config
from fedbbpt.run.session import Session
from fedbbpt.types import Usage

PURPOSES = ("preparing", "training", "validation", "unprompted", "test")  # what queries are spent on


@dataclass(frozen=True)
class Plan:
    """What a run will ask of the model, exactly."""

    rounds: int  # as many as the budget allows, at most config.rounds
    preparing: Usage  # what the backend has to know first
    training: Usage
    validation: Usage
    unprompted: Usage  # the inputs as they are, once: for the baselines, and for runs without a prompt
    test: Usage

    @property
    def total(self) -> Usage:
        """All together."""
        return _sum(getattr(self, purpose) for purpose in PURPOSES)


def plan(session: Session) -> Plan:
    """Counts every query and call of a run without sending one.

    Exact, but for the last scores: they take less than planned where the kept parameters are of an early round with
    fewer views.

    Raises:
        BudgetError: `max_queries` or `max_calls` does not even pay for one round and the scores.
    """
    config, info = session.config, session.backend.info
    algorithm, objective = session.algorithm(), session.objective

    def one_pass(split: str, views: int) -> Usage:
        return _sum(cost(objective, views, len(getattr(client, split))) for client in session.clients)

    preparing = session.preparing
    unprompted = _sum(usage(len(data), info) for data in session.unprompted_data)
    if session.from_memory:  # everything is answered from memory
        return _affordable(Plan(config.rounds, preparing, Usage(), Usage(), unprompted, Usage()), config)
    views = algorithm.views(0)
    result = Plan(0, preparing, Usage(), one_pass("validation", views), unprompted, one_pass("test", views))
    state = algorithm.init()
    while result.rounds < config.rounds:
        chosen = algorithm.sample(replace(state, round=result.rounds), session.clients)
        round_ = result.rounds + 1
        training = result.training + _sum(algorithm.plan(client, round_) for client in chosen)
        views = algorithm.views(round_)
        longer = replace(result, rounds=round_, training=training, test=one_pass("test", views))
        if is_evaluated(round_, config):
            longer = replace(longer, validation=longer.validation + one_pass("validation", views))
        if result.rounds == 0:
            _affordable(longer, config)
        elif _exceeded(longer, config):
            break
        result = longer
    return _affordable(result, config)


def _affordable(planned: Plan, config: Config) -> Plan:
    if part := _exceeded(planned, config):
        limit, takes = getattr(config, f"max_{part}"), getattr(planned.total, part)
        what = f"with {planned.rounds} round of training it takes" if planned.training.queries else "it takes"
        raise BudgetError(f"max_{part}={limit} is too little: {what} {takes} {part}")
    return planned


def _exceeded(planned: Plan, config: Config) -> str | None:
    """Of what a plan takes more than it may; what it will cost in money is known only once it has been asked."""
    if config.max_queries is not None and planned.total.queries > config.max_queries:
        return "queries"
    return "calls" if config.max_calls is not None and planned.total.calls > config.max_calls else None


def is_evaluated(round_: int, config: Config) -> bool:
    """Whether the validation data are looked at after this round (every so many, and after the last asked for)."""
    return round_ % config.evaluate_every == 0 or round_ == config.rounds


def _sum(usages: Iterable[Usage]) -> Usage:
    return sum(usages, Usage())

"""Plans the queries and exchanges of a run before the first one."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate

from fedbbpt.algorithms import Algorithm, ClientSizes
from fedbbpt.algorithms.evaluation import expected_usage
from fedbbpt.backend import usage
from fedbbpt.config import Config
from fedbbpt.errors import BudgetError
from fedbbpt.run.exchange_bound import ExchangeBound
from fedbbpt.run.experiment import Experiment
from fedbbpt.types import Subset, Usage

PURPOSES = ("setup", "training", "validation", "baseline", "test")  # of queries
MOST_DRAWN = 5_000  # rounds whose participants are drawn for a plan


@dataclass(frozen=True)
class QueryPlan:
    """The usage of a run, by purpose, and its exchanges."""

    rounds: int  # as many as the budget pays for, at most config.rounds
    setup: Usage  # by the backend before the first round
    training: Usage
    validation: Usage
    baseline: Usage  # each unprompted input once: for the baselines, and for runs without a prompt
    test: Usage
    most_exchanges: int  # see `ExchangeBound`
    exact: bool = True  # False: `training` is an upper bound

    @property
    def total(self) -> Usage:
        """The sum over all purposes."""
        return _sum(self.by_purpose.values())

    @property
    def by_purpose(self) -> dict[str, Usage]:
        """The usage by purpose, in the order of `PURPOSES`."""
        return dict(zip(PURPOSES, (self.setup, self.training, self.validation, self.baseline, self.test), strict=True))


def plan_queries(experiment: Experiment) -> QueryPlan:
    """Counts every query and request of a run without sending one, in a time that does not depend on the rounds.

    The plan is exact, with three exceptions. The test scores take less if the best round is an early one with fewer
    prompts. If rounds sample clients of different usage, those after `MOST_DRAWN` count as the most expensive sample.
    Without a prompt, clients that are never sampled are counted, too.

    Raises:
        BudgetError: `max_queries` or `max_requests` does not pay for one round and the scores.
    """
    config, info, clients = experiment.config, experiment.backend.info, experiment.client_sizes
    algorithm, setup, exchanges = experiment.algorithm, experiment.setup, ExchangeBound(experiment)
    unprompted = [count for subset in experiment.unprompted_subsets for count in _counts(clients, subset)]
    if unprompted:
        unprompted += [len(experiment.objective.probes)] * len(clients)
    baseline = _sum(usage(count, info) for count in unprompted)
    if experiment.remembers_all_answers:
        everybody = len(algorithm.sample(algorithm.init(), clients)) == len(clients)
        most = exchanges.of(config.rounds, _evaluated(1, config.rounds, config))
        planned = QueryPlan(config.rounds, setup, Usage(), Usage(), baseline, Usage(), most, everybody)
        return _affordable(planned, config)
    training = _Training(algorithm, clients, config.rounds)
    settled = algorithm.settled_round

    @cache
    def one_pass(subset: Subset, prompts: int) -> Usage:
        sizes = Counter(_counts(clients, subset))
        passes = [expected_usage(experiment.prompted, prompts, size).times(count) for size, count in sizes.items()]
        return _sum(passes)

    def validation(rounds: int) -> Usage:
        early = [round_ for round_ in range(1, min(rounds + 1, settled)) if config.is_evaluated(round_)]
        first = _sum(one_pass("validation", algorithm.prompts_per_input(round_)) for round_ in [0, *early])
        return first + one_pass("validation", algorithm.prompts_per_input(settled)).times(
            _evaluated(settled, rounds, config)
        )

    sharpness = _sum(map(algorithm.sharpness_usage, clients)) if algorithm.is_decentralised else Usage()

    def of(rounds: int) -> QueryPlan:
        test = one_pass("test", algorithm.prompts_per_input(rounds)).times(2 if algorithm.is_decentralised else 1)
        trained, exact = training.of(rounds), rounds <= training.exact
        most = exchanges.of(rounds, _evaluated(1, rounds, config))
        return QueryPlan(rounds, setup, trained, validation(rounds), baseline, test + sharpness, most, exact)

    _affordable(of(min(1, config.rounds)), config)
    more = range(1, config.rounds + 1)
    return of(bisect_left(more, True, key=lambda rounds: _exceeded(of(rounds), config) is not None))


class _Training:
    """The usage of training: counts rounds one by one until all later ones have the same usage, or a bound of it."""

    def __init__(self, algorithm: Algorithm, clients: Sequence[ClientSizes], rounds: int) -> None:
        settled, state = algorithm.settled_round, algorithm.init()
        everybody = {client.id: client for client in clients}

        @cache
        def asked(client: str, round_: int) -> Usage:
            return algorithm.expected_usage(everybody[client], round_)

        def of_round(round_: int) -> Usage:
            chosen = algorithm.sample(replace(state, round=round_ - 1), clients)
            return _sum(asked(client.id, min(round_, settled)) for client in chosen)

        costs, drawn = [asked(client, settled) for client in everybody], len(algorithm.sample(state, clients))
        alike = drawn == len(clients) or len(set(costs)) == 1
        counted = min(rounds, settled if alike else max(settled, MOST_DRAWN))
        self._first = list(accumulate(map(of_round, range(1, counted + 1)), initial=Usage()))
        dearest = (sum(sorted(part)[-drawn:]) for part in zip(*costs, strict=True))  # of as many clients as are drawn
        self._later = Usage(*dearest)
        self.exact = rounds if alike else counted  # rounds whose usage is exact

    def of(self, rounds: int) -> Usage:
        """The usage of this many rounds."""
        counted = min(rounds, len(self._first) - 1)
        return self._first[counted] + self._later.times(rounds - counted)


def _affordable(planned: QueryPlan, config: Config) -> QueryPlan:
    if part := _exceeded(planned, config):
        limit, takes = getattr(config, f"max_{part}"), getattr(planned.total, part)
        what = f"with {planned.rounds} round of training it takes" if planned.training.queries else "it takes"
        raise BudgetError(f"max_{part}={limit} is too little: {what} {takes} {part}")
    return planned


def _exceeded(planned: QueryPlan, config: Config) -> str | None:
    """The count that exceeds its limit, if any; a cost in money is not known beforehand."""
    if config.max_queries is not None and planned.total.queries > config.max_queries:
        return "queries"
    return "requests" if config.max_requests is not None and planned.total.requests > config.max_requests else None


def _evaluated(first: int, last: int, config: Config) -> int:
    """The number of evaluated rounds from `first` to `last`."""
    if last < first:
        return 0
    regular = last // config.evaluate_every - (first - 1) // config.evaluate_every
    return regular + (last == config.rounds and last % config.evaluate_every > 0)


def _counts(clients: Sequence[ClientSizes], subset: Subset) -> list[int]:
    """The clients' numbers of examples in a subset."""
    return [{"train": c.train, "validation": c.validation, "test": c.test}[subset] for c in clients]


def _sum(usages: Iterable[Usage]) -> Usage:
    return sum(usages, Usage())

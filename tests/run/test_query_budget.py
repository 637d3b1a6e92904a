"""What a run will ask, counted without a loop over its rounds."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fedbbpt.algorithms.evaluation import expected_usage
from fedbbpt.backend import usage
from fedbbpt.config import make_config
from fedbbpt.errors import BudgetError
from fedbbpt.prompts.affine import Affine
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run import query_budget
from fedbbpt.run.query_budget import plan_queries
from fedbbpt.run.simulation import Simulation
from fedbbpt.types import Usage

ALGORITHMS = [
    {"name": "ensemble", "num_prompts": 1},
    {"name": "ensemble", "num_prompts": 3},
    {"name": "fedavg"},
    {"name": "fedavg", "participation": 0.7, "batch_size": 5},  # clients of 4, 7 and 12 examples, two of them a round
    {"name": "fedavg", "participation": 0.4, "batch_size": 2},  # one a round, and all ask for the same
    {"name": "local", "local_steps": 2},
    {"name": "gossip", "topology": "ring", "gossip_steps": 2},
    {"name": "flood", "topology": "star"},
]


@pytest.fixture
def experiment(fake_backend, clients):
    """`experiment(**settings)`: a run with three clients on the fake backend."""

    def make(prompt=Affine, **settings):
        config = make_config({"backend": {"name": "local-vit"}, **settings})
        task = SimpleNamespace(classes=fake_backend.info.classes, modality="image")
        tuned = prompt((8, 8)), LinearReadout(fake_backend.info, fake_backend.info.classes)
        return Simulation(config, task, fake_backend, *tuned, clients)

    return make


def _round_by_round(experiment, rounds):
    """Training, validation and test of so many rounds, as they would come one after the other."""
    algorithm, state = experiment.algorithm, experiment.algorithm.init()

    def one_pass(split, prompts):
        return sum(
            (expected_usage(experiment.prompted, prompts, getattr(c, split)) for c in experiment.client_sizes), Usage()
        )

    training, validation = Usage(), one_pass("validation", algorithm.prompts_per_input(0))
    for round_ in range(1, rounds + 1):
        chosen = algorithm.sample(replace(state, round=round_ - 1), experiment.client_sizes)
        training = sum((algorithm.expected_usage(client, round_) for client in chosen), training)
        if experiment.config.is_evaluated(round_):
            validation += one_pass("validation", algorithm.prompts_per_input(round_))
    tested = one_pass("test", algorithm.prompts_per_input(rounds)).times(2 if algorithm.is_decentralised else 1)
    return training, validation, tested


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
@pytest.mark.parametrize("every", [1, 3])
def test_the_same_as_counting_round_by_round(experiment, algorithm, every) -> None:
    for rounds in (0, 1, 2, 3, 4, 9):
        planned = plan_queries(ours := experiment(algorithm=algorithm, rounds=rounds, evaluate_every=every))
        assert (planned.training, planned.validation, planned.test) == _round_by_round(ours, rounds)
        assert planned.rounds == rounds
        assert planned.exact


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
@pytest.mark.parametrize("unit", ["queries", "requests"])
def test_a_limit_leaves_as_many_rounds_as_it_pays_for(experiment, algorithm, unit) -> None:
    settings = {"algorithm": algorithm, "evaluate_every": 2}
    limit = getattr(plan_queries(experiment(**settings, rounds=6)).total, unit)
    planned = plan_queries(experiment(**settings, rounds=50, **{f"max_{unit}": limit}))
    assert getattr(planned.total, unit) <= limit
    training, validation, test = _round_by_round(experiment(**settings, rounds=50), planned.rounds + 1)
    assert getattr(planned.baseline + training + validation + test, unit) > limit


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
@pytest.mark.parametrize("every", [1, 3])
def test_the_most_exchanges_are_those_of_all_rounds_and_scores(experiment, algorithm, every) -> None:
    for rounds in (0, 1, 2, 3, 4, 9):
        planned = plan_queries(ours := experiment(algorithm=algorithm, rounds=rounds, evaluate_every=every))
        training = sum(ours.algorithm.most_exchanges(round_) for round_ in range(1, rounds + 1))
        scores = 2 + sum(ours.config.is_evaluated(round_) for round_ in range(1, rounds + 1))
        if algorithm["name"] == "flood":  # its nodes mark the best, and reveal it
            scores = 2 * scores - 1
        if algorithm["name"] == "gossip":  # so do these, and say how sharp it is; the mean is tested
            scores = 2 * scores + 1
        flooded = not ours.algorithm.has_server  # whose nodes mark the best
        fit = ours.baseline.most_exchanges(1) + 1 if flooded else 13
        baselines = 1 + 2 + fit + 1  # zero-shot; validation before and after a fit and its check, and the test
        assert planned.most_exchanges == (0 if algorithm["name"] == "local" else training + scores + baselines)


def test_a_limit_below_one_round_is_refused(experiment) -> None:
    least = plan_queries(experiment(rounds=1)).total.queries
    assert plan_queries(experiment(rounds=5, max_queries=least)).rounds == 1
    with pytest.raises(BudgetError, match=f"with 1 round of training it takes {least} queries"):
        plan_queries(experiment(rounds=5, max_queries=least - 1))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_thousand_million_rounds_take_no_longer_than_a_few(experiment, algorithm, monkeypatch) -> None:
    monkeypatch.setattr(query_budget, "MOST_DRAWN", 50)
    few, more = (plan_queries(experiment(algorithm=algorithm, rounds=rounds)) for rounds in (10**8, 10**9))
    a_round = (more.total.queries - few.total.queries) / (10**9 - 10**8)
    assert 10 < a_round < 1000
    limited = plan_queries(experiment(algorithm=algorithm, rounds=10**9, max_queries=few.total.queries))
    assert limited.rounds == 10**8


def test_rounds_that_are_not_drawn_count_as_the_dearest(experiment, monkeypatch) -> None:
    monkeypatch.setattr(query_budget, "MOST_DRAWN", 20)
    ours = experiment(algorithm=ALGORITHMS[3], rounds=200)
    planned, exactly = plan_queries(ours), _round_by_round(ours, 200)[0]
    assert not planned.exact
    assert exactly.queries < planned.training.queries < 1.5 * exactly.queries
    assert exactly.requests <= planned.training.requests


def test_steps_cost_nothing_to_count(experiment) -> None:
    one, many = (
        plan_queries(experiment(algorithm={"name": "fedavg", "local_steps": steps}, rounds=1)).training
        for steps in (1, 10**9)
    )
    assert many == one.times(10**9)


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_without_a_prompt_each_input_is_counted_once_whatever_the_rounds(experiment, share) -> None:
    algorithm = {"name": "fedavg", "participation": share}
    ours = experiment(prompt=NoPrompt, algorithm=algorithm, rounds=10**6)
    planned = plan_queries(ours)
    inputs = [len(data) for client in ours.clients for data in (client.train, client.validation, client.test)]
    assert planned.total == planned.baseline == sum((usage(count, ours.backend.info) for count in inputs), Usage())
    assert planned.rounds == 10**6
    assert planned.exact == (share == 1)  # else some clients may never be drawn

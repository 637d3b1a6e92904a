"""FedBPT's server: a CMA-ES whose samples are the clients' final means."""

from functools import partial

import cmaes
import numpy as np
import pytest

from fedbbpt.algorithms.fedbpt import FedBpt, step_of
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.optim.two_point import rms
from fedbbpt.prompts.low_rank import LowRank
from fedbbpt.types import Update, Usage

DIM = 12  # of the prompt of `make`, which starts at 0


@pytest.fixture
def make_bpt(make, fake_backend):
    """`make_bpt(sigma=1.0, **options)`: FedBPT on the toy backend."""

    def build(sigma=1.0, optimizer=SepCma, **options):
        return make(fake_backend, FedBpt, optimizer=partial(optimizer, sigma=sigma), **options)

    return build


def update(mean, loss, sigmas, client="a"):
    """A client's reply."""
    payload = {"prompt": np.float32(mean), "loss": np.array([loss]), "sigmas": np.float32(sigmas)}
    return Update(client, payload, 1, loss, Usage())


def four_updates():
    """Those of four clients whose losses are 3, 1, 4, 2."""
    rng = np.random.default_rng(0)
    means, sigmas = rng.normal(size=(4, DIM)), rng.uniform(0.5, 1.5, (4, 3)).astype(np.float32)
    return [update(mean, loss, s) for mean, loss, s in zip(means, (3.0, 1.0, 4.0, 2.0), sigmas, strict=True)]


def test_the_papers_step_is_equation_6():
    sigmas = np.array([[1.0, 2.0, 0.5], [0.25, 1.0, 3.0]])  # of the better two of four clients
    total = (1 + 4 + 0.25) + (0.0625 + 1 + 9)
    assert step_of(sigmas, 5 / 2) == pytest.approx(2 * np.sqrt(total / (4 * 5)))


@pytest.mark.parametrize(("step_size_rule", "parents", "mu"), [("paper", [1, 3], 2.5), ("code", [1, 3, 0, 2], 2)])
def test_the_server_is_a_cma_es_whose_samples_are_the_clients(make_bpt, step_size_rule, parents, mu):
    algorithm, updates = make_bpt(step_size_rule=step_size_rule, max_norm=1e6), four_updates()
    step = step_of(np.array([updates[i].payload["sigmas"] for i in parents], np.float64), mu)
    by_hand = cmaes.SepCMA(np.zeros(DIM), step, population_size=2 * len(parents))
    best = [updates[i].payload["prompt"].astype(np.float64) for i in parents]
    others = [np.zeros(DIM)] * len(parents)  # the library learns from the better half
    by_hand.tell([(point, rank) for rank, point in enumerate([*best, *others])])
    new = algorithm.aggregate(algorithm.init(), updates).parameters
    logs = np.log(by_hand._eigen_decomposition()) * 2
    assert np.allclose(new["prompt"], by_hand.mean, atol=1e-6)
    assert np.allclose(new["optimizer"][1:], logs - logs.mean(), atol=1e-6)


def test_the_step_size_changes_as_the_servers_own_does_whatever_it_is(make_bpt):
    factors = []
    for sigma in (0.5, 2.0):
        algorithm = make_bpt(sigma=sigma)
        state = algorithm.init()
        for factor in (0.1, 10):  # clients that hardly moved for their steps, and that went far
            updates = [update(factor * u.payload["prompt"], u.loss, u.payload["sigmas"]) for u in four_updates()]
            factors.append(np.exp(algorithm.aggregate(state, updates).parameters["optimizer"][0]) / sigma)
    assert factors[0] < 1 < factors[1]
    assert factors[:2] == pytest.approx(factors[2:])


def test_only_the_better_half_counts_in_the_paper_and_all_in_the_code(make_bpt):
    moved = four_updates()
    moved[2] = update(moved[2].payload["prompt"] + 1, 5.0, 3 * moved[2].payload["sigmas"])  # the worst
    for step_size_rule, matters in (("paper", False), ("code", True)):
        algorithm = make_bpt(step_size_rule=step_size_rule)
        one, other = (algorithm.aggregate(algorithm.init(), updates).parameters for updates in (four_updates(), moved))
        assert np.array_equal(one["prompt"], other["prompt"]) != matters
        assert np.array_equal(one["optimizer"], other["optimizer"]) != matters


@pytest.mark.parametrize("step_size_rule", ["paper", "code"])
def test_one_client_alone_decides(make_bpt, step_size_rule):
    algorithm = make_bpt(step_size_rule=step_size_rule, max_norm=1e6)
    first = four_updates()[0]
    assert np.allclose(algorithm.aggregate(algorithm.init(), [first]).parameters["prompt"], first.payload["prompt"])


def test_a_client_without_a_loss_at_its_mean_is_no_sample(make_bpt, same):
    algorithm, lost = make_bpt(), update(np.full(DIM, 99.0), np.nan, np.full(3, 99.0))
    start = algorithm.init()
    assert same(
        algorithm.aggregate(start, [*four_updates(), lost]).parameters,
        algorithm.aggregate(start, four_updates()).parameters,
    )
    after = algorithm.aggregate(start, [lost, lost])
    assert after.round == 1
    assert same(after.parameters, start.parameters)


@pytest.mark.parametrize("max_norm", [0.3, 1.0])
def test_max_norm_bounds_the_distance_from_the_start(simulate, fake_backend, clients, max_norm):
    prompt = LowRank((8, 8))  # whose start is not zeros
    options = {"prompt": prompt, "optimizer": partial(SepCma, sigma=3.0)}
    distances = []
    for bound in (max_norm, 1e6):
        states = simulate(clients, fake_backend, FedBpt, max_norm=bound, **options).states(3)
        start = states[0].parameters["prompt"].astype(np.float64)
        distances.append([rms(state.parameters["prompt"] - start) for state in states[1:]])
    assert distances[0] == pytest.approx([max_norm] * 3)
    assert min(distances[1]) > 1


def test_clients_search_from_the_servers_distribution(make_bpt, train, clients):
    starts = []

    class Spied(SepCma):
        def __init__(self, start, /, **options):
            starts.append((start.x.copy(), None if start.state is None else start.state.copy(), options))
            super().__init__(start, **options)

    algorithm = make_bpt(optimizer=Spied, population_size=7)
    state = algorithm.aggregate(algorithm.init(), four_updates())
    starts.clear()
    train(algorithm, clients[0], state)
    ((x, opt_state, options),) = starts
    assert np.array_equal(x, state.parameters["prompt"])
    assert np.array_equal(opt_state, state.parameters["optimizer"])
    assert options == {"population_size": 7}

"""What the bandit promises beyond the contract; pulls are candidates that were measured."""

import numpy as np
import pytest

from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerStart, Space
from fedbbpt.optim.bandit import MOST, Bandit

ARMS = 32


def make(x=None, seed=0, state=None, choices=ARMS, **options):
    x = np.zeros(ARMS) if x is None else x
    return Bandit(OptimizerStart(x, np.random.default_rng(seed), 0, state, Space(choices)), **options)


class Arms:
    """Losses of 32 choices, as noisy as they differ: centred, of standard deviation 1."""

    def __init__(self, seed):
        self._rng = np.random.default_rng([seed, 1])
        self.means = self._rng.normal(size=ARMS) / np.sqrt(2)
        self.good = np.argsort(self.means)[:2]

    def __call__(self, candidates):
        losses = candidates @ self.means + self._rng.normal(size=len(candidates)) / np.sqrt(2)
        return losses - losses.mean()


def one_client(seed, steps):
    """The choice that is left after so many asks of 8."""
    optimizer, arms = make(seed=seed), Arms(seed)
    for _ in range(steps):
        optimizer.tell(arms(optimizer.ask()))
    return optimizer.x.argmax(), arms


def four_clients(seed, rounds):
    """The same with one ask a round at each of four clients, of which each has a different weight."""
    arms, x, state = Arms(seed), np.zeros(ARMS), None
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    for i in range(rounds):
        clients = [make(x, 1000 * seed + 4 * i + client, state) for client in range(4)]
        for client in clients:
            client.tell(arms(client.ask()))
        x = (weights @ [client.x for client in clients]).astype(np.float32)
        state = (weights @ [client.state for client in clients]).astype(np.float32)
    return x.argmax(), arms


def at_random(seed, steps):
    """The choice of the lowest mean loss, where so many asks of 8 try all of them alike."""
    arms, tried = Arms(seed), np.eye(ARMS)[np.random.default_rng(seed).integers(0, ARMS, (steps, 8))]
    sums = sum(arms(candidates) @ candidates for candidates in tried)
    return (sums / np.maximum(tried.sum((0, 1)), 1)).argmin(), arms


def outcome(search, budget):
    """In how many of 20 searches one of the best two choices is found, and how far all are above the best."""
    found = [search(seed, budget) for seed in range(20)]
    above = [arms.means[choice] - arms.means.min() for choice, arms in found]
    return sum(choice in arms.good for choice, arms in found), np.mean(above)


def test_finds_a_good_choice_of_32_within_320_noisy_pulls():
    found, above = outcome(one_client, 40)
    assert found >= 18
    assert above < 0.5 * outcome(at_random, 40)[1]


def test_four_clients_together_find_it_within_640():
    found, above = outcome(four_clients, 20)
    assert found >= 18
    assert above < 0.5 * outcome(at_random, 40)[1]


def test_places_are_searched_side_by_side():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(2, 8)) / 2
    optimizer = make(np.zeros(16), choices=8)
    for _ in range(60):
        candidates = optimizer.ask()
        assert np.array_equal(candidates.reshape(8, 2, 8).sum(2), np.ones((8, 2)))
        optimizer.tell(candidates @ means.ravel() + rng.normal(size=8) / 2)
    assert np.array_equal(optimizer.x.reshape(2, 8).argmax(1), means.argmin(1))


def test_first_step_by_hand():
    optimizer = make(seed=1, population_size=4)
    tried = optimizer.ask().argmax(1)
    assert len(set(tried)) == 4
    optimizer.tell(np.array([1.0, 0.5, 10.0, 0.0]))
    counts, sums = optimizer.state.reshape(2, ARMS)
    assert np.array_equal(np.flatnonzero(counts), np.sort(tried))
    assert np.allclose(sums[tried], [0.25, -0.25, MOST, -0.75])  # from their median, 0.75
    assert np.allclose(optimizer.x, -sums / (counts + 1))


def test_candidates_without_a_loss_do_not_count():
    optimizer = make()
    tried = optimizer.ask().argmax(1)
    optimizer.tell(np.array([np.nan, 3.0, np.inf, *np.zeros(5)]))
    counts, sums = optimizer.state.reshape(2, ARMS)
    assert np.array_equal(counts, np.bincount(np.delete(tried, [0, 2]), minlength=ARMS))
    assert sums[tried[1]] == MOST


def test_a_single_loss_says_nothing():
    optimizer = make()
    optimizer.ask()
    optimizer.tell(np.array([*np.full(7, np.nan), 3.0]))
    assert not optimizer.state.any()
    assert not optimizer.x.any()


def test_a_good_choice_does_not_look_worse_the_more_often_it_is_tried():
    arms, optimizer = Arms(0), make()
    for _ in range(500):
        candidates = optimizer.ask()
        losses = candidates @ arms.means
        optimizer.tell(losses - losses.mean())
    assert optimizer.state[arms.good[0]] > 1000
    assert optimizer.x[arms.good[0]] > 0.7 * (arms.means.mean() - arms.means.min())


def test_memory_says_what_is_tried():
    state = np.zeros((2, ARMS))
    state[:, 5] = 1000, -8000
    candidates = make(state=state.ravel()).ask()
    assert np.array_equal(candidates, np.tile(np.eye(ARMS)[5], (8, 1)))


def test_one_candidate_is_refused():
    with pytest.raises(ConfigError, match=r"population_size: input should be greater than or equal to 2"):
        make_config({"optimizer": {"name": "bandit", "population_size": 1}})

"""What the server makes of the mean change, against the papers' loops written by hand."""

import numpy as np
import pytest

from fedbbpt.algorithms.server import RATES, RULES
from fedbbpt.types import Update, Usage

CHANGES = np.random.default_rng(0).normal(0, 0.3, (5, 12))
CLOSE = 1e-6  # memory is kept as float32


def thetas(rule, rate):
    """θ after each round, from 0."""
    theta, memory, seen = np.zeros(12), {}, []
    for change in CHANGES:
        step, memory = RULES[rule](change, memory, rate)
        theta = theta + step
        seen.append(theta)
    return np.array(seen)


def by_hand_mean(rate):
    theta = [0.0] * 12
    for change in CHANGES:
        for i in range(12):
            theta[i] += rate * change[i]
        yield list(theta)


def by_hand_momentum(rate):
    theta, v = [0.0] * 12, [0.0] * 12
    for change in CHANGES:
        for i in range(12):
            v[i] = 0.9 * v[i] + change[i]
            theta[i] += rate * v[i]
        yield list(theta)


def by_hand_adam(rate):
    theta, m, v = [0.0] * 12, [0.0] * 12, [1e-6] * 12
    for change in CHANGES:
        for i in range(12):
            m[i] = 0.9 * m[i] + 0.1 * change[i]
            v[i] = 0.99 * v[i] + 0.01 * change[i] ** 2
            theta[i] += rate * m[i] / (v[i] ** 0.5 + 0.001)
        yield list(theta)


BY_HAND = {"mean": by_hand_mean, "momentum": by_hand_momentum, "adam": by_hand_adam}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rate", [1.0, 0.05])
def test_rule_is_that_of_its_paper(rule, rate):
    assert np.abs(thetas(rule, rate) - list(BY_HAND[rule](rate))).max() < CLOSE


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rate", [None, 0.05])
def test_theta_goes_the_servers_way(make, fake_backend, rule, rate):
    algorithm = make(fake_backend, server=rule, server_rate=rate, upload="parameters")
    state = algorithm.init()
    for change, expected in zip(CHANGES, BY_HAND[rule](RATES[rule] if rate is None else rate), strict=True):
        payload = {"prompt": change.astype(np.float32), "optimizer": np.ones(12, np.float32)}
        before = state.parameters["optimizer"]
        state = algorithm.merge(state, [Update("a", payload, 3, 1.0, Usage())])
        assert np.abs(state.parameters["prompt"] - expected).max() < CLOSE
        assert np.array_equal(state.parameters["optimizer"], before + 1)  # the optimizer's memory is the clients' mean


def test_rates_fit_their_rules():
    assert RATES == {"mean": 1.0, "momentum": 0.3, "adam": 0.1}


@pytest.mark.parametrize(("rule", "kept"), [("mean", set()), ("momentum", {"velocity"}), ("adam", {"first", "second"})])
def test_memory_is_kept_in_the_state(make, rounds, fake_backend, clients, rule, kept):
    (start, state), _ = rounds(make(fake_backend, server=rule), clients, 1)
    assert dict(start.memory) == {}
    assert set(state.memory) - {"lowest", "good"} == kept
    for part in kept:
        assert state.memory[part].shape == (12,)
        assert state.memory[part].dtype == np.float32
        assert state.memory[part].any()


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_a_fresh_server_goes_on_with_the_memory_of_the_state(make, rounds, same, fake_backend, clients, rule):
    (*_, third, _, fifth), _ = rounds(make(fake_backend, server=rule), clients, 5)
    assert same(rounds(make(fake_backend, server=rule), clients, 2, third)[0][-1].parameters, fifth.parameters)

"""What the server makes of the mean change, against the papers' loops written by hand."""

import numpy as np
import pytest

from fedbbpt.algorithms.server_optimizer import DEFAULT_LR, RULES
from fedbbpt.types import Update, Usage

CHANGES = np.random.default_rng(0).normal(0, 0.3, (5, 12))
CLOSE = 1e-6  # what the server remembers is kept as float32


def thetas(rule, lr):
    """θ after each round, from 0."""
    theta, opt_state, seen = np.zeros(12), {}, []
    for change in CHANGES:
        step, opt_state = RULES[rule](change, opt_state, lr)
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
@pytest.mark.parametrize("lr", [1.0, 0.05])
def test_rule_is_that_of_its_paper(rule, lr):
    assert np.abs(thetas(rule, lr) - list(BY_HAND[rule](lr))).max() < CLOSE


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("lr", [None, 0.05])
def test_theta_goes_the_servers_way(make, fake_backend, rule, lr):
    algorithm = make(fake_backend, server_optimizer=rule, server_lr=lr, upload="parameters")
    state = algorithm.init()
    for change, expected in zip(CHANGES, BY_HAND[rule](DEFAULT_LR[rule] if lr is None else lr), strict=True):
        payload = {"prompt": change.astype(np.float32), "optimizer": np.ones(12, np.float32)}
        before = state.parameters["optimizer"]
        state = algorithm.aggregate(state, [Update("a", payload, 3, 1.0, Usage())])
        assert np.abs(state.parameters["prompt"] - expected).max() < CLOSE
        assert np.array_equal(state.parameters["optimizer"], before + 1)  # the optimizer's state is the clients' mean


def test_learning_rates_fit_their_rules():
    assert DEFAULT_LR == {"mean": 1.0, "momentum": 0.3, "adam": 0.1}


@pytest.mark.parametrize(("rule", "kept"), [("mean", set()), ("momentum", {"velocity"}), ("adam", {"first", "second"})])
def test_what_the_server_remembers_is_kept_in_the_state(simulate, fake_backend, clients, rule, kept):
    start, state = simulate(clients, fake_backend, server_optimizer=rule).states(1)
    assert dict(start.opt_state) == {}
    assert set(state.opt_state) - {"trend", "best"} == kept
    for part in kept:
        assert state.opt_state[part].shape == (12,)
        assert state.opt_state[part].dtype == np.float32
        assert state.opt_state[part].any()


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_a_fresh_server_goes_on_with_what_the_state_remembers(simulate, same, fake_backend, clients, rule):
    *_, third, _, fifth = simulate(clients, fake_backend, server_optimizer=rule).states(5)
    resumed = simulate(clients, fake_backend, server_optimizer=rule).states(2, third)
    assert same(resumed[-1].to_arrays(), fifth.to_arrays())

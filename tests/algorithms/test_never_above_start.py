"""A budget is not spent on a θ that is worse than the start, however few directions are measured of however many."""

from functools import cache, partial

import numpy as np
import pytest

from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.backend import Backend, BackendInfo, BackendOutput
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts import Prompt, add
from fedbbpt.readouts.identity import Identity
from fedbbpt.testing import Toy
from fedbbpt.testing.simulation import simulate
from fedbbpt.testing.toy import CLASSES, SIZE, toy_data
from fedbbpt.types import Client


@cache
def pictures(dim):
    """What each of θ's numbers adds to a picture: (d, 192)."""
    return np.random.default_rng(dim).normal(0, 1 / np.sqrt(dim), (dim, 3 * SIZE[0] * SIZE[1])).astype(np.float32)


class Picture(Prompt):
    """Adds a picture that is linear in θ; random signs for all of θ move a pixel by ε."""

    modalities = ("image",)

    def __init__(self, dim, epsilon):
        self.dim, self._epsilon = dim, epsilon

    def apply(self, theta, inputs, features):
        drawn = np.asarray(theta, np.float32) @ pictures(self.dim)
        return add(self._epsilon * drawn.reshape(-1, 3, *SIZE), inputs)


class Fitted(Backend):
    """Random features and a linear layer that was fitted to other pictures: good at the start, but not perfect."""

    info = BackendInfo("fitted", SIZE, CLASSES, "logits", 128)

    def __init__(self, seed):
        rng, data = np.random.default_rng(seed), toy_data(30, 1000 + seed)
        self._hidden = rng.normal(0, 0.3, (3 * SIZE[0] * SIZE[1], 40))
        features, wanted = self._features(data.batch(slice(None)).inputs), 6 * np.eye(len(CLASSES))[data.labels] - 2
        self._out = np.linalg.solve(features.T @ features + np.eye(40), features.T @ wanted)

    def _features(self, inputs):
        return np.tanh(inputs.reshape(len(inputs), -1) @ self._hidden)

    def query(self, inputs):
        return BackendOutput((self._features(inputs) @ self._out).astype(np.float32))


def losses_of(dim, clients, optimizer, seed, epsilon, rounds=20):
    """The training loss at the start and at the end."""
    backend, data = Fitted(seed), [toy_data(24 // clients, 10 * seed + i) for i in range(clients)]
    people = [Client(f"client-{i}", one, one, one) for i, one in enumerate(data)]
    toy = Toy(backend, Picture(dim, epsilon), Identity(backend.info, CLASSES), optimizer, people)
    one = simulate(FedAvg, toy, seed=seed)
    start, *_, end = one.states(rounds)
    return [one.evaluate(state, "train").loss for state in (start, end)]


@pytest.mark.parametrize("dim", [105, 9920])
@pytest.mark.parametrize(("clients", "epsilon", "runs"), [(1, 0.4, 30), (4, 0.1, 6)])
def test_no_run_ends_above_its_start(dim, clients, epsilon, runs):
    ends = [losses_of(dim, clients, SpsaGC, seed, epsilon) for seed in range(runs)]
    assert [end for end in ends if end[1] > end[0]] == []


def test_steps_that_do_not_fit_the_dimension_end_above_the_start():
    optimizer = partial(SpsaGC, a=0.15, c=0.5, num_directions=4)
    ends = [losses_of(105, 1, optimizer, seed, 0.4) for seed in range(10)]
    assert any(end[1] > end[0] for end in ends)

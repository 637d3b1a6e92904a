"""With default options, a first step is 0.3 a coordinate along the gradient, and shorter along a poor estimate."""

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.optim import OptimizerStart, unit
from fedbbpt.optim.two_point import ALONE

EVOLUTION = {"cma": 1.5 * unit(200), "nes": 0.75, "sep-cma": 0.75}  # σ
ALONG_ESTIMATES = {"rge": 1, "spsa": 1, "spsa-clip": 1, "spsa-gc": 1, "zo-adam": 1, "zo-sam": 2}  # the first step's k


def first_step(name, dim, clients=1, **options):
    """The size a coordinate of the clients' mean first step on a slope, and the number of all their directions."""
    slope = np.random.default_rng(1).normal(size=dim)
    sizes = []
    for seed in range(5):
        xs = []
        for client in range(clients):
            start = OptimizerStart(np.zeros(dim), np.random.default_rng([seed, client]), clients=clients)
            optimizer = registry.load("optimizers", name)(start, **options)
            for _ in range(ALONG_ESTIMATES.get(name, 1)):
                assert not optimizer.x.any()
                losses = optimizer.ask() @ slope
                optimizer.tell((losses - losses.mean()) / losses.std())
            xs.append(optimizer.x)
        sizes.append(np.sqrt(np.mean(np.mean(xs, 0) ** 2)))
    return np.mean(sizes), clients * optimizer.population_size // 2


@pytest.mark.parametrize("name", EVOLUTION)
def test_first_step_of_an_evolution_strategy_is_a_sensible_amount(name):
    assert 0.34 < first_step(name, 200)[0] / EVOLUTION[name] < 0.48


@pytest.mark.parametrize("name", ALONG_ESTIMATES)
@pytest.mark.parametrize(("clients", "options"), [(1, {}), (10, {}), (3, {"num_directions": 7})])
def test_first_step_is_shorter_with_fewer_directions_than_dimensions(name, clients, options):
    size, directions = first_step(name, 200, clients, **options)
    assert directions == (21 if options else 10 if clients == 10 else ALONE)
    assert size == pytest.approx(0.3 * (13 / 200) ** 0.75 / np.sqrt(1 + 200 / directions), rel=0.25)


@pytest.mark.parametrize("name", ["rge", "spsa", "spsa-gc", "zo-sam"])
def test_more_directions_than_dimensions_make_no_longer_steps(name):
    for count in (64, 256):
        assert first_step(name, 4, num_directions=count)[0] == pytest.approx(0.3, rel=0.3)

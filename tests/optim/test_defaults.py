"""With their default options the optimizers that we recommend take a first step of about 0.3 a coordinate."""

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.optim import OptimizerStart

STEPS = {"cma": 1, "nes": 1, "rge": 1, "sep-cma": 1, "zo-sam": 2, "spsa": 1, "spsa-clip": 1, "spsa-gc": 1, "zo-adam": 1}
SLOPE = np.random.default_rng(1).normal(size=200)


@pytest.mark.parametrize("name", STEPS)
def test_first_step_is_a_sensible_amount(name):
    sizes = []
    for seed in range(5):
        optimizer = registry.load("optimizers", name)(OptimizerStart(np.zeros(200), np.random.default_rng(seed)))
        for _ in range(STEPS[name]):
            assert not optimizer.x.any()
            losses = optimizer.ask() @ SLOPE
            optimizer.tell((losses - losses.mean()) / losses.std())
        sizes.append(np.sqrt(np.mean(optimizer.x**2)))
    assert 0.26 < np.mean(sizes) < 0.36

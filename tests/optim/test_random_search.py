import numpy as np
import pytest

from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.random_search import RandomSearch


@pytest.mark.parametrize(("dim", "options", "expected"), [(13, {}, 1.0), (208, {}, 0.25), (208, {"sigma": 2.0}, 2.0)])
def test_steps_are_as_long_in_many_dimensions_as_in_few(dim, options, expected):
    start = OptimizerStart(np.zeros(dim), np.random.default_rng(0))
    asked = RandomSearch(start, population_size=200, **options).ask()
    assert asked.std() == pytest.approx(expected, rel=0.05)

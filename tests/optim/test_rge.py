import numpy as np
import pytest

from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.rge import Rge


def make(x, step=0, **options):
    return Rge(OptimizerStart(x, np.random.default_rng(0), step), **options)


def test_directions_are_gaussian():
    offsets = make(np.zeros(20000), c=0.5, num_directions=1).ask()[0] / 0.5
    assert offsets.std() == pytest.approx(1, abs=0.02)
    assert np.mean(offsets**4) == pytest.approx(3, abs=0.2)  # 1 for signs, 1.8 for a uniform draw


def test_estimate_is_the_mean_of_slope_times_direction():
    optimizer = make(np.zeros(3), step=3, a=0.6, alpha=0.5, c=0.2, gamma=0.5, num_directions=2)
    u = optimizer.ask()[:2] / 0.1  # c_4 = 0.2 / √4
    optimizer.tell(np.array([5.0, 1.0, 2.0, 7.0]))
    estimate = (3 / 0.2 * u[0] - 6 / 0.2 * u[1]) / 2
    assert np.allclose(optimizer.x, -0.3 * estimate)  # a_4 = 0.6 / √4


def test_estimate_of_a_line_is_its_slope_on_average():
    slope = np.array([3.0, -1.0, 0.0])
    optimizer = make(np.zeros(3), a=1.0, num_directions=20000)
    optimizer.tell(optimizer.ask() @ slope)
    assert np.allclose(-optimizer.x, slope, atol=0.15)


def test_direction_with_a_missing_side_is_left_out():
    optimizer = make(np.zeros(3), a=1.0, c=1.0, num_directions=2)
    u = optimizer.ask()[:2]
    optimizer.tell(np.array([5.0, 1.0, 2.0, np.nan]))
    assert np.allclose(optimizer.x, -1.5 * u[0])

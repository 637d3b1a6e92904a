import numpy as np
import pytest

from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.rge import Rge
from fedbbpt.optim.zo_adam import ZoAdam


def curve(candidates):
    return np.sin(candidates).sum(1) + 0.1 * (candidates**2).sum(1)


def estimates_and_places(count, split, **options):
    """The estimates behind `count` steps, and the steps; after `split` of them a fresh object goes on."""
    rng = np.random.default_rng(0)
    optimizer = ZoAdam(OptimizerStart(np.ones(4), rng), **options)
    estimates, places = [], []
    for k in range(count):
        if k == split:
            optimizer = ZoAdam(OptimizerStart(optimizer.x, rng, k, optimizer.state), **options)
        twin = Rge(OptimizerStart(optimizer.x, np.random.default_rng(), k), a=1.0, alpha=0.0)
        twin._rng.bit_generator.state = rng.bit_generator.state
        twin.tell(curve(twin.ask()))
        estimates.append(optimizer.x - twin.x)
        optimizer.tell(curve(optimizer.ask()))
        places.append(optimizer.x)
    return estimates, places


@pytest.mark.parametrize("split", [None, 3])
def test_steps_are_those_of_a_plain_loop(split):
    estimates, places = estimates_and_places(8, split, a=0.2, alpha=0.5, beta1=0.8, beta2=0.95, epsilon=1e-3)
    x, m, v = np.ones(4), np.zeros(4), np.zeros(4)
    for k, (g, place) in enumerate(zip(estimates, places, strict=True), start=1):
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g * g
        x = x - 0.2 / k**0.5 * (m / (1 - 0.8**k)) / (np.sqrt(v / (1 - 0.95**k)) + 1e-3)
        assert np.allclose(place, x, rtol=1e-9)


def test_first_step_has_the_same_size_whatever_the_spread():
    for spread in (0.01, 100.0):
        optimizer = ZoAdam(OptimizerStart(np.zeros(50), np.random.default_rng(0)))
        optimizer.tell(spread * optimizer.ask()[:, 0])
        assert np.allclose(np.abs(optimizer.x), 0.3 * (13 / 50) ** 0.75 / np.sqrt(1 + 50 / 2), rtol=1e-3)


def test_memory_is_both_moments():
    start = OptimizerStart(np.zeros(1), np.random.default_rng(0))
    optimizer = ZoAdam(start, beta1=0.5, beta2=0.75, num_directions=1, c=1.0)
    u = optimizer.ask()[0, 0]
    optimizer.tell(np.array([2.0, 0.0]))  # slope 1 along u
    assert optimizer.state == pytest.approx([0.5 * u, 0.25 * u**2])

"""What both CMA evolution strategies do around their libraries."""

import numpy as np
import pytest

from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.cma import Cma
from fedbbpt.optim.sep_cma import SepCma

pytestmark = pytest.mark.parametrize("kind", [Cma, SepCma])


def make(kind, dim=4, state=None, seed=0, **options):
    return kind(OptimizerStart(np.zeros(dim), np.random.default_rng(seed), 0, state), **options)


@pytest.mark.parametrize(("dim", "population"), [(2, 6), (12, 11), (300, 21)])
def test_default_population_grows_with_the_logarithm_of_the_dimension(kind, dim, population):
    assert make(kind, dim).population_size == population


def test_population_as_given(kind):
    assert len(make(kind, population_size=7).ask()) == 7


def test_one_dimension_is_refused(kind):
    with pytest.raises(ConfigError, match="at least 2 dimensions"):
        make(kind, 1)


def test_moves_towards_the_better_half(kind):
    optimizer = make(kind, population_size=10)
    optimizer.tell(optimizer.ask()[:, 0])
    assert optimizer.x[0] < 0


def test_unmeasured_candidates_rank_last(kind):
    holed, worst = make(kind, population_size=6), make(kind, population_size=6)
    losses = np.array([3.0, np.nan, 1.0, 2.0, -np.inf, 0.0])
    for optimizer, reported in ((holed, losses), (worst, np.where(np.isfinite(losses), losses, 9.0))):
        optimizer.ask()
        optimizer.tell(reported)
    assert holed.x.any()
    assert np.array_equal(holed.x, worst.x)


@pytest.mark.parametrize("losses", [[1.0, 2.0, *[np.nan] * 4], [1.0] * 6, [1.0, 1.0, 1.0, *[np.nan] * 3]])
def test_generation_that_says_too_little_is_dropped(kind, losses):
    optimizer = make(kind, population_size=6)
    state = optimizer.state
    optimizer.ask()
    optimizer.tell(np.array(losses))
    assert np.array_equal(optimizer.x, np.zeros(4))
    assert np.array_equal(optimizer.state, state)


def test_starts_with_the_distribution_of_the_memory(kind):
    state = np.array([np.log(0.1), 2 * np.log(4), 0, -2 * np.log(4)])
    candidates = make(kind, 3, state, population_size=4000).ask()
    assert np.allclose(candidates.std(0), [0.4, 0.1, 0.025], rtol=0.06)


def test_memory_is_that_of_the_distribution(kind):
    optimizer = make(kind, 3, population_size=10)
    for _ in range(60):
        candidates = optimizer.ask()
        optimizer.tell(candidates**2 @ np.array([1.0, 100.0, 1e4]))
    assert optimizer.state[1:].sum() == pytest.approx(0, abs=1e-9)
    assert (np.diff(optimizer.state[1:]) < -2).all()  # the steeper, the narrower
    stds = optimizer._scale * optimizer._stds()
    assert np.allclose(np.diff(optimizer.state[1:]), 2 * np.diff(np.log(stds)), atol=1e-3)


@pytest.mark.parametrize("steps", [1, 4])
def test_short_rounds_without_any_selection_keep_the_step_size(kind, steps):
    noise = np.random.default_rng(1)
    start = state = make(kind, 40).state
    for i in range(80 // steps):
        left = []
        for client in range(3):
            optimizer = make(kind, 40, state, seed=[i, client])
            for _ in range(steps):
                optimizer.ask()
                optimizer.tell(noise.normal(size=optimizer.population_size))
            left.append(optimizer.state)
        state = np.mean(left, 0)
    assert abs(state[0] - start[0]) < 0.17  # the libraries' own would have lost more than 0.5


def test_step_size_grows_where_it_is_too_small(kind):
    optimizer = make(kind, sigma=1e-3)
    for _ in range(30):
        optimizer.tell(optimizer.ask()[:, 0])
    assert optimizer.state[0] > np.log(1e-2)

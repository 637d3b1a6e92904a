import numpy as np
import pytest

from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.nes import Nes, utilities_of


def make(x, state=None, **options):
    return Nes(OptimizerStart(x, np.random.default_rng(0), 0, state), **options)


@pytest.mark.parametrize(("dim", "population"), [(1, 4), (2, 6), (12, 12), (1000, 24)])
def test_default_population_is_even_and_grows_with_the_logarithm_of_the_dimension(dim, population):
    assert make(np.zeros(dim)).population_size == population


def test_odd_population_is_refused():
    with pytest.raises(ConfigError, match=r"population_size: input should be a multiple of 2"):
        make_config({"optimizer": {"name": "nes", "population_size": 7}})


def test_candidates_are_mirror_images_at_the_distance_of_the_step_sizes():
    x, sigmas = np.full(2, 3.0), np.array([0.01, 2.0])
    plus, minus = np.split(make(x, np.log(sigmas), population_size=20000).ask(), 2)
    assert np.allclose(plus + minus, 2 * x)
    assert np.allclose((plus - x).std(0), sigmas, rtol=0.03)


def test_utilities_by_hand():
    raw = np.array([np.log(3 / 1), np.log(3 / 2), 0, 0])
    best, second, third, last = raw / raw.sum() - 0.25
    assert np.allclose(utilities_of(np.array([7.0, 1.0, 9.0, 5.0])), [third, best, last, second])


def test_equal_losses_share_their_utilities():
    best, second, third, last = utilities_of(np.arange(4.0))
    assert np.allclose(
        utilities_of(np.array([2.0, 1.0, 2.0, 0.0])), [(third + last) / 2, second, (third + last) / 2, best]
    )
    assert np.allclose(utilities_of(np.ones(6)), 0)


def test_step_by_hand():
    x, sigmas = np.array([1.0, -1.0]), np.array([0.5, 2.0])
    optimizer = make(x, np.log(sigmas), population_size=4)
    s = (optimizer.ask() - x) / sigmas
    optimizer.tell(np.array([3.0, 1.0, 2.0, 4.0]))
    raw = np.array([0, np.log(3 / 1), np.log(3 / 2), 0])
    u = raw / raw.sum() - 0.25
    assert np.allclose(optimizer.x, x + sigmas * sum(u[i] * s[i] for i in range(4)))
    eta = (3 + np.log(2)) / (5 * np.sqrt(2))
    assert np.allclose(
        np.exp(optimizer.state), sigmas * np.exp(eta / 2 * sum(u[i] * (s[i] ** 2 - 1) for i in range(4)))
    )


def test_step_depends_on_ranks_only():
    plain, bent = make(np.ones(3)), make(np.ones(3))
    for _ in range(5):
        plain.tell(plain.ask()[:, 0])
        bent.tell(np.exp(3 * bent.ask()[:, 0]))
    assert np.array_equal(plain.x, bent.x)


def test_pair_with_a_missing_side_is_left_out():
    optimizer = make(np.zeros(2), population_size=4, sigma=1.0)
    s = optimizer.ask()
    optimizer.tell(np.array([np.nan, 1.0, 5.0, 2.0]))
    assert np.allclose(optimizer.x, (s[1] - s[3]) / 2)  # utilities ±½ of the pair that is left


@pytest.mark.parametrize("losses", [[1.0, np.nan, np.nan, 3.0, 2.0, 5.0], [1.0, 1.0, np.nan, 1.0, 1.0, 2.0]])
def test_generation_that_says_too_little_is_dropped(losses):
    optimizer = make(np.zeros(2), population_size=6)
    state = optimizer.state
    optimizer.ask()
    optimizer.tell(np.array(losses))
    assert np.array_equal(optimizer.x, np.zeros(2))
    assert np.array_equal(optimizer.state, state)

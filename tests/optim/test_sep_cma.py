import numpy as np
import pytest

from fedbbpt.errors import ConfigError
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.run.config import make_config


def make(dim=4, steps_before=0, **options):
    return SepCma(np.zeros(dim), np.random.default_rng(0), steps_before, **options)


@pytest.mark.parametrize(("dim", "population"), [(2, 6), (12, 11), (1000, 24)])
def test_default_population_grows_with_the_logarithm_of_the_dimension(dim, population):
    assert make(dim).population == population


def test_population_as_given():
    assert len(make(population=7).ask()) == 7


def test_population_of_one_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer.population: input should be greater than or equal to 2"):
        make_config({"optimizer": {"name": "sep-cma", "population": 1}})


def test_step_size_falls_with_the_steps_before():
    first, later = make(sigma=2.0, decay=0.5).ask(), make(steps_before=3, sigma=2.0, decay=0.5).ask()
    assert np.allclose(first, 2 * later)  # √(1 + 3)


def test_moves_towards_the_better_half():
    optimizer = make(population=10)
    candidates = optimizer.ask()
    optimizer.tell(candidates[:, 0])
    assert optimizer.x[0] < 0


def test_unmeasured_candidates_rank_last():
    holed, worst = make(population=6), make(population=6)
    losses = np.array([3.0, np.nan, 1.0, 2.0, np.nan, 0.0])
    for optimizer, told in ((holed, losses), (worst, np.where(np.isnan(losses), 9.0, losses))):
        optimizer.ask()
        optimizer.tell(told)
    assert np.array_equal(holed.x, worst.x)


def test_generation_with_too_few_losses_is_dropped():
    optimizer = make(population=6)
    optimizer.ask()
    optimizer.tell(np.array([1.0, 2.0, np.nan, np.nan, np.nan, np.nan]))
    assert np.array_equal(optimizer.x, np.zeros(4))

import cma
import numpy as np
import pytest

from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.cma import Cma


def test_population_of_two_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer.population_size: input should be greater than or equal to 3"):
        make_config({"optimizer": {"name": "cma", "population_size": 2}})


def test_many_dimensions_are_refused_with_an_alternative():
    with pytest.raises(ConfigError, match=r"up to 300 dimensions, the prompt has 301: use 'sep-cma'"):
        Cma(OptimizerStart(np.zeros(301), np.random.default_rng(0)))


def test_most_dimensions_survive_dropped_generations():
    optimizer = Cma(OptimizerStart(np.zeros(300), np.random.default_rng(0)))
    for scale in (1, 1, 1, np.nan, 1):
        optimizer.tell(scale * optimizer.ask()[:, 0])
    assert optimizer.x[0] < 0


@pytest.mark.parametrize("population", [None, 4])
def test_agrees_with_the_library(population):
    rng = np.random.default_rng(5)
    ours = Cma(OptimizerStart(np.zeros(8), np.random.default_rng(5)), sigma=0.4, population_size=population)
    options = {"verbose": -9, "seed": np.nan, "CMA_mirrors": 0, "randn": lambda *shape: rng.standard_normal(shape)}
    theirs = cma.CMAEvolutionStrategy(np.zeros(8), 0.4, options | ({"popsize": population} if population else {}))
    for _ in range(12):
        candidates = ours.ask()
        losses = (candidates - 1) ** 2 @ np.arange(1.0, 9) + candidates[:, 0] * candidates[:, 1]
        ours.tell(losses)
        theirs.tell(theirs.ask(), list(losses))
        assert np.allclose(ours.x, theirs.mean, rtol=0, atol=1e-12)
    assert np.abs(ours.x).max() > 0.1


def test_learns_how_coordinates_vary_together():
    optimizer = Cma(OptimizerStart(np.zeros(2), np.random.default_rng(0)), population_size=20)
    for _ in range(30):
        candidates = optimizer.ask()
        optimizer.tell(100 * (candidates[:, 0] - candidates[:, 1]) ** 2 + candidates.sum(1) ** 2)
    assert np.corrcoef(optimizer.ask().T)[0, 1] > 0.5

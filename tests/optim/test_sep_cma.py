import cmaes
import numpy as np
import pytest

from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.sep_cma import SepCma


def test_population_of_one_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer.population_size: input should be greater than or equal to 2"):
        make_config({"optimizer": {"name": "sep-cma", "population_size": 1}})


def test_agrees_with_the_library():
    x = np.linspace(-1, 1, 8)
    ours = SepCma(OptimizerStart(x, np.random.default_rng(5)), sigma=0.4)
    theirs = cmaes.SepCMA(x.copy(), 0.4, seed=int(np.random.default_rng(5).integers(2**31)))
    for _ in range(12):
        candidates = ours.ask()
        losses = (candidates**2) @ np.arange(1.0, 9)
        ours.tell(losses)
        theirs.tell([(theirs.ask(), loss) for loss in losses])
        assert np.allclose(ours.x, theirs.mean, rtol=0, atol=1e-12)
    assert np.abs(ours.x - x).max() > 0.1


def test_memory_stays_finite_where_the_library_learns_too_fast():
    optimizer = SepCma(OptimizerStart(np.zeros(3), np.random.default_rng(0)), population_size=50)
    replaced = False
    for _ in range(30):
        optimizer.tell(optimizer.ask() ** 2 @ np.array([1.0, 100.0, 1e4]))
        assert np.isfinite(optimizer.state).all()
        replaced |= (optimizer._cma._C < 0).any()  # the library takes another variance instead
    assert replaced

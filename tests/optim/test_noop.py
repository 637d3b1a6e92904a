import numpy as np
import pytest

from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.noop import NoOp


@pytest.mark.parametrize("dim", [0, 3])
def test_asks_for_its_start_and_stays_there(dim):
    optimizer = NoOp(OptimizerStart(np.arange(float(dim)), np.random.default_rng(0)))
    assert np.array_equal(optimizer.ask(), [np.arange(float(dim))])
    optimizer.tell(np.array([5.0]))
    assert np.array_equal(optimizer.x, np.arange(float(dim)))


def test_keeps_the_manners_of_the_others():
    optimizer = NoOp(OptimizerStart(np.zeros(2), np.random.default_rng(0)))
    with pytest.raises(RuntimeError):
        optimizer.tell(np.array([5.0]))
    optimizer.ask()
    with pytest.raises(RuntimeError):
        optimizer.ask()
    with pytest.raises(ValueError, match=r"\(1,\)"):
        optimizer.tell(np.zeros(2))

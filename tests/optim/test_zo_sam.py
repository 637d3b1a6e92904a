import numpy as np
import pytest

from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.zo_sam import ZoSam

SLOPE = np.array([3.0, -4.0])


def make(x, step=0, state=None, **options):
    return ZoSam(OptimizerStart(x, np.random.default_rng(0), step, state), **options)


def centre(candidates):
    plus, minus = np.split(candidates, 2)
    assert np.allclose(plus + minus, plus[0] + minus[0])
    return (plus[0] + minus[0]) / 2


def test_second_ask_is_centred_uphill_and_steps_from_x():
    x = np.array([1.0, 2.0])
    optimizer = make(x, a=0.5, alpha=0.0, gamma=0.0, rho=0.2, num_directions=1)
    first = optimizer.ask()
    assert np.allclose(centre(first), x)
    optimizer.tell(first @ SLOPE)
    assert np.array_equal(optimizer.x, x)
    estimate = (first[0] - first[1]) @ SLOPE / (first[0] - first[1])
    second = optimizer.ask()
    assert np.allclose(centre(second), x + 0.2 * np.sqrt(2) * estimate / np.linalg.norm(estimate))
    optimizer.tell((second**2).sum(1))
    step = (second[0] ** 2 - second[1] ** 2).sum() / (second[0] - second[1])
    assert np.allclose(optimizer.x, x - 0.5 * step)
    assert np.allclose(centre(optimizer.ask()), optimizer.x)


def test_round_that_ends_in_between_is_gone_on_with():
    before = make(np.zeros(2))
    before.tell(before.ask() @ SLOPE)
    after = make(before.x, step=1, state=before.state, rho=0.2)
    assert np.linalg.norm(centre(after.ask())) == pytest.approx(0.2 * np.sqrt(2))
    after.tell(np.arange(float(after.population_size)))
    assert after.x.any()
    assert not after.state.any()


def test_mean_direction_is_brought_back_to_its_length():
    optimizer = make(np.zeros(2), state=np.array([0.3, 0.0]), rho=0.2)  # clients that went different ways
    assert np.allclose(centre(optimizer.ask()), [0.2 * np.sqrt(2), 0])


@pytest.mark.parametrize("pending", [np.zeros(2), np.array([1.0, -1.0])])
def test_ask_without_information_is_repeated(pending):
    optimizer = make(np.zeros(2), state=pending)
    before = centre(optimizer.ask())
    optimizer.tell(np.full(optimizer.population_size, np.nan))
    assert np.allclose(centre(optimizer.ask()), before)


def test_flat_first_ask_is_repeated():
    optimizer = make(np.zeros(2))
    optimizer.ask()
    optimizer.tell(np.ones(optimizer.population_size))
    assert np.allclose(centre(optimizer.ask()), 0)
    assert np.array_equal(optimizer.state, np.zeros(2))

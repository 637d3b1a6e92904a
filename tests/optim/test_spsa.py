import numpy as np
import pytest

from fedbbpt.optim.spsa import Spsa, SpsaGC


def make(kind, x, steps_before=0, **options):
    return kind(x, np.random.default_rng(0), steps_before, **options)


def test_candidates_are_mirror_images_around_x():
    x = np.arange(5.0)
    plus, minus = np.split(make(Spsa, x, directions=3).ask(), 2)
    assert np.allclose(plus + minus, 2 * x)


def test_spsa_perturbs_every_coordinate_by_c_k():
    optimizer = make(Spsa, np.zeros(9), steps_before=7, c=0.2, gamma=0.5)
    assert np.allclose(np.abs(optimizer.ask()), 0.2 / 8**0.5)


def test_gradient_correction_draws_perturbations_between_half_and_one():
    sizes = np.abs(make(SpsaGC, np.zeros(2000), c=1.0, gamma=0.0, directions=1).ask())
    assert sizes.min() >= 0.5
    assert sizes.max() <= 1.0
    assert sizes.min() < 0.51
    assert sizes.max() > 0.99


@pytest.mark.parametrize("kind", [Spsa, SpsaGC])
def test_step_is_a_k_times_the_slope(kind):
    options = {"beta": 0.0} if kind is SpsaGC else {}
    optimizer = make(kind, np.array([2.0]), 3, a=0.7, alpha=0.5, stability=5.0, directions=1, **options)
    optimizer.tell(3 * optimizer.ask()[:, 0])  # a line of slope 3
    assert optimizer.x == pytest.approx(2.0 - 0.7 / (4 + 5.0) ** 0.5 * 3)


def test_momentum_looks_ahead():
    optimizer = make(SpsaGC, np.zeros(1), a=1.0, alpha=0.0, beta=0.5, directions=1)
    places = []
    for _ in range(3):
        optimizer.tell(optimizer.ask()[:, 0])  # slope 1: momentum 1, 1.5, 1.75
        places.append(optimizer.x[0])
    assert places == pytest.approx([-1.5, -3.25, -5.125])


def test_direction_with_a_missing_side_is_left_out():
    whole, holed = make(Spsa, np.ones(6), directions=2), make(Spsa, np.ones(6), directions=2)
    plus, minus = np.split(whole.ask(), 2)
    holed.ask()
    holed.tell(np.array([1.0, np.nan, 0.4, 9.0]))
    slope = (1.0 - 0.4) / (plus - minus)[0]
    assert np.allclose(holed.x, 1 - 3.0 * slope)

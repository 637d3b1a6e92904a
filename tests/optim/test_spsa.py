import numpy as np
import pytest

from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.spsa import Spsa, SpsaClip, SpsaGC


def make(kind, x, step=0, state=None, **options):
    return kind(OptimizerStart(x, np.random.default_rng(0), step, state), **options)


def test_candidates_are_mirror_images_around_x():
    x = np.arange(5.0)
    plus, minus = np.split(make(Spsa, x, num_directions=3).ask(), 2)
    assert np.allclose(plus + minus, 2 * x)


def test_spsa_perturbs_every_coordinate_by_c_k():
    optimizer = make(Spsa, np.zeros(9), step=7, c=0.2, gamma=0.5)
    assert np.allclose(np.abs(optimizer.ask()), 0.2 / 8**0.5)


def test_gradient_correction_draws_perturbations_between_half_and_one():
    sizes = np.abs(make(SpsaGC, np.zeros(2000), c=1.0, gamma=0.0, num_directions=1).ask())
    assert sizes.min() >= 0.5
    assert sizes.max() <= 1.0
    assert sizes.min() < 0.51
    assert sizes.max() > 0.99


@pytest.mark.parametrize("kind", [Spsa, SpsaGC, SpsaClip])
def test_step_is_a_k_times_the_slope(kind):
    options = {"beta": 0.0} if kind is SpsaGC else {"threshold": 9.0} if kind is SpsaClip else {}
    optimizer = make(kind, np.array([2.0]), 3, a=0.7, alpha=0.5, stability_constant=5.0, num_directions=1, **options)
    optimizer.tell(3 * optimizer.ask()[:, 0])  # a line of slope 3
    assert optimizer.x == pytest.approx(2.0 - 0.7 / (4 + 5.0) ** 0.5 * 3)


@pytest.mark.parametrize("kind", [Spsa, SpsaGC])
def test_every_coordinate_gets_the_difference_over_its_own_perturbation(kind):
    options = {"beta": 0.0} if kind is SpsaGC else {}
    optimizer = make(kind, np.zeros(3), a=1.0, alpha=0.0, num_directions=2, **options)
    plus, minus = np.split(optimizer.ask(), 2)
    optimizer.tell(np.array([5.0, 1.0, 2.0, 7.0]))
    assert np.allclose(optimizer.x, -(3 / (plus - minus)[0] - 6 / (plus - minus)[1]) / 2)


def test_momentum_looks_ahead():
    optimizer = make(SpsaGC, np.zeros(1), a=1.0, alpha=0.0, beta=0.5, num_directions=1)
    places = []
    for _ in range(3):
        optimizer.tell(optimizer.ask()[:, 0])  # slope 1: momentum 1, 1.5, 1.75
        places.append(optimizer.x[0])
    assert places == pytest.approx([-1.5, -3.25, -5.125])
    assert optimizer.state == pytest.approx([1.75])


def test_momentum_goes_on_from_the_memory():
    optimizer = make(SpsaGC, np.zeros(1), state=np.array([2.0]), a=1.0, alpha=0.0, beta=0.5, num_directions=1)
    optimizer.tell(optimizer.ask()[:, 0])  # slope 1: momentum 2
    assert optimizer.x == pytest.approx([-2.0])
    assert optimizer.state == pytest.approx([2.0])


@pytest.mark.parametrize(("slope", "step"), [(3.0, 2.0), (-3.0, -2.0), (1.5, 1.5)])
def test_clip_cuts_the_estimate_to_the_threshold(slope, step):
    optimizer = make(SpsaClip, np.zeros(1), a=1.0, alpha=0.0, num_directions=1, threshold=2.0)
    optimizer.tell(slope * optimizer.ask()[:, 0])
    assert optimizer.x == pytest.approx([-step])


def test_clip_keeps_the_direction_and_counts_the_dimension():
    free, cut = (make(SpsaClip, np.zeros(9), a=1.0, alpha=0.0, threshold=t) for t in (1e9, 0.5))
    for optimizer in (free, cut):
        optimizer.tell(100 * optimizer.ask()[:, 0])
    assert np.linalg.norm(cut.x) == pytest.approx(0.5 * 3)  # threshold · √9
    assert np.allclose(cut.x / 1.5, free.x / np.linalg.norm(free.x))


def test_direction_with_a_missing_side_is_left_out():
    whole, holed = (make(Spsa, np.ones(6), a=3.0, num_directions=2) for _ in range(2))
    plus, minus = np.split(whole.ask(), 2)
    holed.ask()
    holed.tell(np.array([1.0, np.nan, 0.4, 9.0]))
    slope = (1.0 - 0.4) / (plus - minus)[0]
    assert np.allclose(holed.x, 1 - 3.0 * slope)

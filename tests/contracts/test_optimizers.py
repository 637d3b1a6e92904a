"""What every registered optimizer promises."""

import numpy as np
import pytest

from fedbbpt import registry

NAMES = registry.names("optimizers")
pytestmark = pytest.mark.parametrize("name", NAMES)


def make(name, x, seed=0, steps_before=0):
    return registry.load("optimizers", name)(x, np.random.default_rng(seed), steps_before)


def bowl(candidates):
    return 0.01 * (candidates**2).sum(1)


def steps(optimizer, count, losses=bowl):
    for _ in range(count):
        optimizer.tell(losses(optimizer.ask()))
    return optimizer.x


def test_ask_gives_population_candidates_in_float64(name):
    optimizer = make(name, np.zeros(5, np.float32))
    candidates = optimizer.ask()
    assert candidates.shape == (optimizer.population, 5)
    assert candidates.dtype == np.float64
    assert optimizer.x.shape == (5,)
    assert optimizer.x.dtype == np.float64


def test_starts_at_the_given_point(name):
    start = np.arange(4.0)
    assert np.array_equal(make(name, start).x, start)


def test_asking_twice_is_a_misuse(name):
    optimizer = make(name, np.zeros(3))
    optimizer.ask()
    with pytest.raises(RuntimeError, match="ask"):
        optimizer.ask()


def test_telling_unasked_is_a_misuse(name):
    optimizer = make(name, np.zeros(3))
    with pytest.raises(RuntimeError, match="tell"):
        optimizer.tell(np.zeros(optimizer.population))


def test_telling_twice_is_a_misuse(name):
    optimizer = make(name, np.zeros(3))
    steps(optimizer, 1)
    with pytest.raises(RuntimeError, match="tell"):
        optimizer.tell(np.zeros(optimizer.population))


@pytest.mark.parametrize("shape", ["more", "fewer", "column"])
def test_wrong_number_of_losses_is_refused(name, shape):
    optimizer = make(name, np.zeros(3))
    optimizer.ask()
    n = optimizer.population
    with pytest.raises(ValueError, match=f"\\({n},\\)"):
        optimizer.tell(np.zeros({"more": n + 1, "fewer": n - 1, "column": (n, 1)}[shape]))


def test_callers_arrays_stay_as_they_are(name):
    start = np.arange(6.0)
    optimizer = make(name, start)
    for losses in (np.arange(optimizer.population, dtype=float), np.full(optimizer.population, np.nan)):
        candidates = optimizer.ask()
        copies = candidates.copy(), losses.copy()
        optimizer.tell(losses)
        assert np.array_equal(candidates, copies[0])
        assert np.array_equal(losses, copies[1], equal_nan=True)
    assert np.array_equal(start, np.arange(6.0))


def test_callers_later_changes_do_not_reach_the_optimizer(name):
    honest, meddled = make(name, np.ones(6)), make(name, start := np.ones(6))
    start[:] = 99
    losses = bowl(honest.ask())
    meddled.ask()[:] = 99
    honest.tell(losses)
    meddled.tell(losses)
    assert np.array_equal(honest.x, meddled.x)


def test_x_once_handed_out_stays_as_it_was(name):
    optimizer = make(name, np.ones(6))
    before = optimizer.x
    assert not np.array_equal(steps(optimizer, 3), before)
    assert np.array_equal(before, np.ones(6))


def test_same_seed_gives_the_same_bits(name):
    assert np.array_equal(steps(make(name, np.ones(6), seed=3), 5), steps(make(name, np.ones(6), seed=3), 5))


def test_another_seed_gives_another_path(name):
    assert not np.array_equal(steps(make(name, np.ones(6), seed=3), 5), steps(make(name, np.ones(6), seed=4), 5))


def test_survives_a_candidate_without_a_loss(name):
    def holed(candidates):
        return np.where(np.arange(len(candidates)) == 0, np.nan, bowl(candidates))

    assert np.isfinite(steps(make(name, np.ones(6)), 20, holed)).all()


def test_stays_where_it_is_without_any_loss(name):
    optimizer = make(name, np.ones(6))
    before = steps(optimizer, 3).copy()
    assert np.array_equal(steps(optimizer, 3, lambda c: np.full(len(c), np.nan)), before)
    assert not np.array_equal(steps(optimizer, 3), before)


def test_minimises_a_noisy_bowl(name):
    noise = np.random.default_rng(0)
    x = steps(make(name, np.full(10, 5.0)), 300, lambda c: bowl(c) + 1e-4 * noise.normal(size=len(c)))
    assert bowl(x[None]) < 0.1 * bowl(np.full((1, 10), 5.0))


def test_one_dimension_works_or_is_refused_with_a_reason(name):
    optimizer, reason = None, ""
    try:
        optimizer = make(name, np.full(1, 5.0))
    except ValueError as e:
        reason = str(e)
    assert "dimension" in reason if optimizer is None else abs(steps(optimizer, 100)[0]) < 5


def test_later_rounds_look_around_more_closely(name):
    def reach(steps_before):
        return np.abs(make(name, np.zeros(8), steps_before=steps_before).ask()).mean()

    assert reach(1000) < reach(10) < reach(0)

"""What every registered optimizer promises."""

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.optim import Optimizer, OptimizerStart, Space

NAMES = registry.names("optimizers")
pytestmark = pytest.mark.parametrize("name", NAMES)


def make(name, x, seed=0, step=0, state=None):
    """Of one that draws from choices, as few a place as the dimension allows."""
    kind = registry.load("optimizers", name)
    space = Space(choices_of(x)) if kind.categorical else Space()
    return kind(OptimizerStart(x, np.random.default_rng(seed), step, state, space))


def choices_of(x):
    return next((count for count in range(2, len(x) + 1) if len(x) % count == 0), 1)


def lowest(x):
    return np.arange(len(x)) % 2 * 2.0  # 0 and 2 by turns, so that choices differ as well


def bowl(candidates):
    # Of standard deviation 1 around a point at 1 in 10 dimensions.
    return 0.3 * ((candidates - lowest(candidates[0])) ** 2).sum(1)


def excess(name, x):
    """How far above the lowest the bowl is at x; or under the choices that it says are the best."""
    ends = np.stack([x, lowest(x)])
    if registry.load("optimizers", name).categorical:
        choices = choices_of(x)
        ends = np.eye(choices)[ends.reshape(2, -1, choices).argmax(2)].reshape(2, -1)
    return np.subtract(*bowl(ends))


def nothing(candidates):
    return np.full(len(candidates), np.nan)


def steps(optimizer, count, losses=bowl):
    for _ in range(count):
        optimizer.tell(losses(optimizer.ask()))
    return optimizer.x


def rounds(name, x, count, steps_a_round, losses=bowl):
    """A fresh object a round, as clients have it; what it leaves travels in float32."""
    state = None
    for i in range(count):
        optimizer = make(name, x, i, i * steps_a_round, state)
        x = steps(optimizer, steps_a_round, losses)
        state = optimizer.state.astype(np.float32)
    return x


def test_ask_gives_population_candidates_in_float64(name):
    optimizer = make(name, np.zeros(5, np.float32))
    candidates = optimizer.ask()
    assert candidates.shape == (optimizer.population_size, 5)
    assert candidates.dtype == np.float64
    assert optimizer.x.shape == (5,)
    assert optimizer.x.dtype == np.float64


def test_derives_from_its_protocol(name):
    assert Optimizer in registry.load("optimizers", name).__mro__


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
        optimizer.tell(np.zeros(optimizer.population_size))


def test_telling_twice_is_a_misuse(name):
    optimizer = make(name, np.zeros(3))
    steps(optimizer, 1)
    with pytest.raises(RuntimeError, match="tell"):
        optimizer.tell(np.zeros(optimizer.population_size))


@pytest.mark.parametrize("shape", ["more", "fewer", "column"])
def test_wrong_number_of_losses_is_refused(name, shape):
    optimizer = make(name, np.zeros(3))
    optimizer.ask()
    n = optimizer.population_size
    with pytest.raises(ValueError, match=f"\\({n},\\)"):
        optimizer.tell(np.zeros({"more": n + 1, "fewer": n - 1, "column": (n, 1)}[shape]))


def test_callers_arrays_stay_as_they_are(name):
    start = np.arange(6.0)
    state = make(name, start).state
    kept = state.copy()
    optimizer = make(name, start, state=state)
    for losses in (np.arange(optimizer.population_size, dtype=float), np.full(optimizer.population_size, np.nan)):
        candidates = optimizer.ask()
        copies = candidates.copy(), losses.copy()
        optimizer.tell(losses)
        assert np.array_equal(candidates, copies[0])
        assert np.array_equal(losses, copies[1], equal_nan=True)
    assert np.array_equal(start, np.arange(6.0))
    assert np.array_equal(state, kept)


def test_callers_later_changes_do_not_reach_the_optimizer(name):
    state = make(name, np.ones(6)).state
    honest, meddled = make(name, np.ones(6)), make(name, start := np.ones(6), state=state)
    start[:] = 99
    state[:] = 99
    losses = bowl(honest.ask())
    meddled.ask()[:] = 99
    honest.tell(losses)
    meddled.tell(losses)
    assert np.array_equal(honest.x, meddled.x)


def test_x_and_state_once_handed_out_stay_as_they_were(name):
    optimizer = make(name, np.ones(6))
    x, state = optimizer.x, optimizer.state
    copies = x.copy(), state.copy()
    assert not np.array_equal(steps(optimizer, 3), x)
    assert np.array_equal(x, copies[0])
    assert np.array_equal(state, copies[1])


def test_same_seed_gives_the_same_bits(name):
    first, second = make(name, np.ones(6), seed=3), make(name, np.ones(6), seed=3)
    assert np.array_equal(steps(first, 5), steps(second, 5))
    assert np.array_equal(first.state, second.state)


def test_losses_alone_are_enough_to_replay_the_steps(name):
    client, server = make(name, np.ones(6), seed=3), make(name, np.ones(6), seed=3)
    for _ in range(5):
        losses = bowl(client.ask()).astype(np.float16)
        client.tell(losses)
        server.ask()
        server.tell(losses)
    assert np.array_equal(client.x, server.x)
    assert np.array_equal(client.state, server.state)


def test_another_seed_gives_another_path(name):
    assert not np.array_equal(steps(make(name, np.ones(6), seed=3), 5), steps(make(name, np.ones(6), seed=4), 5))


def test_touches_nothing_outside(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    before = np.random.get_state()
    steps(make(name, np.ones(6)), 5)
    after = np.random.get_state()
    assert np.array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_survives_candidates_without_a_loss(name):
    def holed(candidates):
        losses = bowl(candidates)
        losses[0], losses[-1] = np.nan, np.inf
        return losses

    optimizer = make(name, np.ones(6))
    assert np.isfinite(steps(optimizer, 20, holed)).all()
    assert np.isfinite(optimizer.state).all()


def test_stays_where_it_is_without_any_loss(name):
    optimizer = make(name, np.ones(6))
    x, state = steps(optimizer, 1).copy(), optimizer.state.copy()
    assert np.array_equal(steps(optimizer, 3, nothing), x)
    assert np.array_equal(optimizer.state, state)
    assert not np.array_equal(steps(optimizer, 3), x)


def test_minimises_a_noisy_bowl(name):
    noise = np.random.default_rng(0)
    x = steps(make(name, np.ones(10)), 300, lambda c: bowl(c) + 0.1 * noise.normal(size=len(c)))
    assert excess(name, x) < 0.1 * excess(name, np.ones(10))


@pytest.mark.parametrize("steps_a_round", [1, 3])
def test_minimises_a_noisy_bowl_in_rounds_that_hand_on_their_state(name, steps_a_round):
    noise = np.random.default_rng(0)
    count = 300 // steps_a_round
    x = rounds(name, np.ones(10), count, steps_a_round, lambda c: bowl(c) + 0.1 * noise.normal(size=len(c)))
    assert excess(name, x) < 0.1 * excess(name, np.ones(10))


def test_level_of_the_losses_says_nothing(name):
    def exact(candidates):  # so that a level changes no difference
        return np.round(2**10 * bowl(candidates)) / 2**10

    level = np.random.default_rng(0).integers(-1000, 1000, 10).astype(float)
    low, high = make(name, np.ones(6)), make(name, np.ones(6))
    for shift in level:
        low.tell(exact(low.ask()))
        high.tell(exact(high.ask()) + shift)
    assert np.array_equal(low.x, high.x)
    assert np.array_equal(low.state, high.state)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_losses_may_be_of_low_precision(name, dtype):
    short, long = make(name, np.ones(6)), make(name, np.ones(6))
    for _ in range(5):
        losses = bowl(short.ask()).astype(dtype)
        short.tell(losses)
        long.ask()
        long.tell(losses.astype(np.float64))
    assert np.array_equal(short.x, long.x)
    assert short.x.dtype == np.float64


def test_state_has_a_constant_length(name):
    fresh, used = make(name, np.zeros(6)), make(name, np.ones(6), step=1000)
    assert fresh.state.ndim == 1
    for count in range(4):
        steps(used, count)
        assert used.state.shape == fresh.state.shape
        assert used.state.dtype == np.float64
        assert np.isfinite(used.state).all()


def test_state_is_handed_on_as_it_came_while_nothing_happens(name):
    used = make(name, np.ones(6))
    steps(used, 3)
    fresh = make(name, used.x, seed=1, step=3, state=used.state)
    assert np.array_equal(fresh.state, used.state)
    steps(fresh, 2, nothing)
    assert np.array_equal(fresh.state, used.state)
    assert np.array_equal(fresh.x, used.x)


def test_initial_state_says_the_same_as_none(name):
    none = make(name, np.ones(6), seed=3)
    given = make(name, np.ones(6), seed=3, state=none.state)
    assert np.array_equal(steps(none, 5), steps(given, 5))


def test_mean_of_states_is_a_state(name):
    left = []
    for seed in range(3):
        optimizer = make(name, np.ones(6), seed)
        steps(optimizer, 3)
        left.append(optimizer.state)
    optimizer = make(name, np.ones(6), step=3, state=np.mean(left, 0))
    assert np.isfinite(optimizer.ask()).all()


@pytest.mark.parametrize("shape", ["longer", "matrix"])
def test_state_of_another_shape_is_refused(name, shape):
    m = len(make(name, np.ones(6)).state)
    with pytest.raises(ValueError, match=f"\\({m},\\)"):
        make(name, np.ones(6), state=np.zeros({"longer": m + 1, "matrix": (m, 1)}[shape]))


def test_one_dimension_works_or_is_refused_with_a_reason(name):
    optimizer, reason = None, ""
    try:
        optimizer = make(name, np.full(1, 5.0))
    except ValueError as e:
        reason = str(e)
    assert "dimension" in reason if optimizer is None else abs(steps(optimizer, 100)[0]) < 5

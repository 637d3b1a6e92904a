"""Scales that are found on the way, and the way back from steps that were too long."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fedbbpt.algorithms.calibration import FIRST, MOST, Calibration, spread_of
from fedbbpt.errors import ConfigError
from fedbbpt.objective import Objective
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.readouts.identity import Identity
from fedbbpt.types import Update, Usage

LOSSES = np.array([1.0, 3.0, np.nan, 2.0, 6.0])


class Louder(Objective):
    """The same with a thousand times the losses."""

    def losses(self, weights, scores, labels):
        return 1000 * super().losses(weights, scores, labels)


def update_of(loss, loss_std, weight=1):
    return Update("a", {}, weight, loss, Usage(), loss_std)


def moved(loss, by=0.5, name="a"):
    payload = {"prompt": np.full(12, by, np.float32), "optimizer": np.ones(12, np.float32)}
    return Update(name, payload, 3, loss, Usage(), 0.1)


def scale_of(state):
    return Calibration.from_array(state.parameters["calibration"]).scale


@pytest.mark.parametrize("steps", [1, 3])
def test_theta_does_not_depend_on_the_scale_of_the_losses(simulate, fake_backend, clients, steps):
    ends = []
    for objective in (Objective, Louder):
        wanted = {"objective": objective, "readout": Identity}  # a fit stops at another place for the last bit
        ends.append(simulate(clients, fake_backend, **wanted, local_steps=steps, loss_dtype="float32").states(5))
    for quiet, loud in zip(*ends, strict=True):
        assert np.abs(quiet.parameters["prompt"] - loud.parameters["prompt"]).max() < 1e-5
    assert np.abs(ends[0][-1].parameters["prompt"]).max() > 0.1


def test_without_calibration_theta_depends_on_the_scale_of_the_losses(simulate, fake_backend, clients):
    (_, quiet), (_, loud) = (
        simulate(clients, fake_backend, objective=objective, calibrate=False).states(1)
        for objective in (Objective, Louder)
    )
    assert np.allclose(loud.parameters["prompt"], 1000 * quiet.parameters["prompt"], rtol=1e-3)


def test_losses_are_centred_and_of_unit_spread_and_failures_stay():
    known = Calibration().with_initial_spread(LOSSES)
    seen = known.standardise(LOSSES)
    assert np.isnan(seen).tolist() == np.isnan(LOSSES).tolist()
    assert np.nanmean(seen) == pytest.approx(0)
    assert np.nanstd(seen) == pytest.approx(1)
    assert np.allclose(known.standardise(1 + LOSSES), seen, equal_nan=True)


def test_losses_are_divided_by_the_spread_that_is_known():
    known = Calibration(spread=0.5)
    assert known.with_initial_spread(LOSSES) == known
    assert known.standardise(LOSSES).tolist()[:2] == [-4, 0]


def test_missing_losses_stay_nan():
    silent = np.full(4, np.nan)
    assert np.isnan(Calibration().with_initial_spread(silent).standardise(silent)).all()


def test_equal_losses_say_nothing():
    assert Calibration().with_initial_spread(np.ones(4)).standardise(np.ones(4)).tolist() == [0, 0, 0, 0]


def test_even_the_widest_loss_fits_into_float16():
    seen = Calibration(spread=1e-30).standardise(np.array([0.0, 1.0])).astype(np.float16)
    assert seen.tolist() == [-MOST, MOST]


def test_spread_is_that_of_what_was_measured():
    assert spread_of(LOSSES) == pytest.approx(np.std([1, 3, 2, 6]))
    assert math.isnan(spread_of(np.array([1.0, np.nan])))


def test_calibration_travels_as_three_numbers():
    known = Calibration(2.0, 0.25, 3.0)
    assert known.to_array().tolist() == [2, 0.25, 3]
    assert Calibration.from_array(known.to_array()) == known


def test_spread_is_the_mean_over_clients_by_weight_and_rounds():
    first = Calibration().update([update_of(1.0, 0.1, 1), update_of(1.0, 0.3, 3)])
    assert (first.scale, first.rounds) == (1, 1)
    assert first.spread == pytest.approx(0.25)
    second = first.update([update_of(1.0, 0.45)])
    assert second.spread == pytest.approx(0.35)
    assert second.update([update_of(1.0, 0.05)]).spread == pytest.approx(0.25)


def test_clients_without_an_answer_teach_nothing():
    known = Calibration(1.0, 0.2, 2.0)
    assert known.update([update_of(math.nan, math.nan), update_of(1.0, math.nan)]) == known
    assert known.update([update_of(1.0, 0.5), update_of(math.nan, math.nan, 99)]).spread == pytest.approx(0.3)


@pytest.mark.parametrize(("spread", "factor"), [(1e-5, 2.0), (0.0, 2.0), (0.1, 1.0), (0.9, 0.5)])
def test_the_scale_doubles_for_flat_losses_and_halves_for_coarse_ones(spread, factor):
    known = Calibration().update([update_of(1.0, spread)])
    assert known.scale == factor
    assert known.spread == pytest.approx(spread * factor) or spread == 0
    assert Calibration().update([update_of(1000.0, 1000 * spread)]).scale == factor


def test_the_scale_is_looked_for_in_the_first_rounds_only():
    known, scales = Calibration(), []
    for _ in range(FIRST + 3):
        known = known.update([update_of(1.0, 1e-6)])
        scales.append(known.scale)
    assert scales == [2, 4, 8, 16, 16, 16, 16]


def test_a_flat_loss_makes_the_rounds_take_wider_steps(simulate, make_backend, clients):
    class Flat(Objective):
        def losses(self, weights, scores, labels):
            return 1e-6 * super().losses(weights, scores, labels) + 1

    states = simulate(clients, make_backend(), objective=Flat, local_steps=2).states(6)
    assert [scale_of(state) for state in states] == [1, 2, 4, 8, 16, 16, 16]


@pytest.mark.parametrize("server_optimizer", ["mean", "momentum", "adam"])
def test_a_loss_that_jumps_brings_back_the_last_good_theta_and_halves_the_scale(make, fake_backend, server_optimizer):
    algorithm = make(fake_backend, server_optimizer=server_optimizer)
    start = algorithm.init()
    good = algorithm.aggregate(start, [moved(1.0)])
    better = algorithm.aggregate(good, [moved(0.9)])
    worse = algorithm.aggregate(better, [moved(5.0)])
    assert better.parameters["prompt"].any()
    assert worse.parameters["prompt"].tolist() == good.parameters["prompt"].tolist()  # that of the loss 0.9
    assert not worse.parameters["optimizer"].any()
    assert scale_of(worse) == scale_of(better) / 2
    assert worse.round == 3
    assert set(worse.opt_state) == {"trend", "best"}


def test_without_calibration_a_loss_may_jump(make, fake_backend):
    algorithm = make(fake_backend, calibrate=False)
    state = algorithm.aggregate(algorithm.aggregate(algorithm.init(), [moved(1.0)]), [moved(5.0)])
    assert state.parameters["prompt"].tolist() == [1.0] * 12


@pytest.mark.parametrize("by", [np.inf, np.nan, -np.finfo(np.float32).max])
def test_a_change_that_is_no_number_is_not_taken(make, fake_backend, by):
    algorithm = make(fake_backend)
    state = algorithm.aggregate(algorithm.init(), [moved(1.0)])
    after = algorithm.aggregate(state, [moved(0.9), moved(0.9, by, "b")])
    assert np.isfinite(after.parameters["prompt"]).all()
    assert scale_of(after) == scale_of(state) / 2
    assert after.parameters["prompt"].tolist() == algorithm.init().parameters["prompt"].tolist()


@pytest.mark.parametrize("upload", ["losses", "parameters"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_run_whose_steps_overflow_goes_on_with_half_of_them(simulate, rounds, fake_backend, clients, upload, steps):
    options = {"optimizer": partial(SpsaGC, a=1e300), "upload": upload, "local_steps": steps}
    states, losses = rounds(simulate(clients, fake_backend, **options), 3)
    assert [scale_of(state) for state in states] == [1, 0.5, 0.25, 0.125]
    assert not states[-1].parameters["prompt"].any()
    assert np.isfinite(losses).all()


def test_without_calibration_an_overflow_is_said_plainly(simulate, fake_backend, clients):
    options = {"optimizer": partial(SpsaGC, a=1e300), "calibrate": False, "readout": Identity}
    with pytest.raises(ConfigError, match="diverged beyond all numbers; start a new run with smaller steps"):
        simulate(clients, fake_backend, **options).states(1)


def test_the_best_theta_is_kept(make, fake_backend):
    algorithm, losses = make(fake_backend), [1.0, 0.8, 0.95, 0.7, 9.0, 0.75]
    state, thetas, kept = algorithm.init(), [], []
    for loss in losses:
        thetas.append(state.parameters["prompt"].tolist())
        state = algorithm.aggregate(state, [moved(loss)])
        kept.append(thetas.index(state.opt_state["best"].tolist()))
    assert kept == [0, 1, 2, 3, 3, 3]  # the mean of two losses is lowest at these


def test_losses_that_rise_slowly_bring_back_the_best_theta(make, fake_backend):
    algorithm = make(fake_backend)
    state, best = algorithm.init(), None
    for loss in (1.0, 0.8, 0.7, 0.6, 0.62, 0.66, 0.72, 0.8, 0.9):
        best = state.parameters["prompt"] if loss == 0.62 else best
        state = algorithm.aggregate(state, [moved(loss)])
    assert scale_of(state) == 0.5
    assert state.parameters["prompt"].tolist() == best.tolist()


def test_what_was_asked_in_a_round_that_is_taken_back_counts_for_the_spread(make, fake_backend):
    algorithm = make(fake_backend)
    state = algorithm.aggregate(algorithm.init(), [moved(1.0)])
    after = algorithm.aggregate(state, [replace(moved(5.0), loss_std=0.3)])
    assert Calibration.from_array(after.parameters["calibration"]) == pytest.approx((0.5, 0.1, 2.0))  # half of 0.2


def test_a_first_round_that_measured_nothing_leaves_no_best_theta(make, fake_backend):
    algorithm = make(fake_backend)
    state = algorithm.aggregate(algorithm.init(), [replace(moved(math.nan), loss_std=math.nan)])
    assert set(state.opt_state) == {"trend"}
    assert scale_of(state) == 1

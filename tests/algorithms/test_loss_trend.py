"""When losses count as rising."""

import math

import numpy as np
import pytest

from fedbbpt.algorithms.loss_trend import LossTrend, pooled_loss
from fedbbpt.types import Update, Usage


def setbacks(losses):
    """The rounds in which losses were setbacks."""
    trend, found = LossTrend(), []
    for round_, loss in enumerate(losses):
        if trend.is_setback(loss):
            found.append(round_)
            trend = trend.after_setback()
        else:
            trend = trend.after(loss)
    return found


@pytest.mark.parametrize(
    ("loss", "lowest", "expected"),
    [(1.6, 1.0, False), (1.8, 1.0, True), (0.15, 0.0, False), (math.nan, 1.0, True), (5.0, math.inf, False)],
)
def test_divergence_is_a_loss_far_above_the_lowest(loss, lowest, expected):
    assert LossTrend(lowest, lowest).is_setback(loss) == expected


def test_chance_is_no_rise():
    for seed in range(20):
        losses = 1 + 0.1 * np.random.default_rng(seed).normal(size=50)
        assert len(setbacks(losses)) <= 3


def test_losses_that_fall_are_no_rise():
    for seed in range(20):
        losses = 2 - 0.02 * np.arange(50) + 0.05 * np.random.default_rng(seed).normal(size=50)
        assert setbacks(losses) == []


def test_losses_that_rise_are_found_out():
    for seed in range(20):
        losses = 1 + 0.01 * np.arange(50) + 0.02 * np.random.default_rng(seed).normal(size=50)
        assert setbacks(losses)


def test_after_a_setback_the_next_loss_stands_alone():
    trend = LossTrend(1.0, 1.2, 0.01, 5).after_setback()
    assert trend.mean_of_two(1.1) == 1.1
    assert not trend.is_setback(1.6)


def test_a_round_without_losses_leaves_the_trend():
    assert LossTrend().after(math.nan) == LossTrend()


def test_trend_travels_as_four_numbers():
    trend = LossTrend().after(1.0).after(0.5)
    assert trend == (0.75, 0.5, 0.25, 1)
    assert LossTrend.from_array(trend.to_array()) == trend


def test_pooled_loss_is_that_of_an_example():
    updates = [
        Update("a", {}, 1, 4.0, Usage()),
        Update("b", {}, 3, 2.0, Usage()),
        Update("c", {}, 9, math.nan, Usage()),
    ]
    assert pooled_loss(updates) == 2.5
    assert math.isnan(pooled_loss(updates[2:]))

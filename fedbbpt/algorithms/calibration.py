"""Step sizes that need no tuning: losses and parameters are brought to one scale while the run measures them.

A zero-order step is a·ΔL/(2c). Its length depends on the scales of the losses and of θ, which are unknown beforehand
(Spall 1998 sets a and c manually, from a few measurements). Here the optimizer moves in units of `scale`. The losses of
a step are centred and divided by `spread`: their standard deviation within a step, averaged over all clients and rounds
so far. Then the same a and c fit all prompts, models and losses. [own design]
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Float32, Floats, Update

MOST = 1e4  # standard deviations: more than any optimizer needs, and within the range of float16
FAINT, COARSE = 0.01, 0.5  # relative change of the loss: below, perturbations are too small; above, too large
FIRST = 4  # rounds in which the scale is adapted


class Calibration(NamedTuple):
    """The scales that all clients of a round use; sent as three numbers."""

    scale: float = 1.0  # units of θ per unit of the optimizer
    spread: float = math.nan  # nats; NaN: unknown, so each client uses that of its own first step
    rounds: float = 0.0  # number of rounds that the spread was averaged over

    @classmethod
    def from_array(cls, values: Floats) -> "Calibration":
        """Inverse of `to_array`."""
        return cls(*values.tolist())

    def to_array(self) -> Float32:
        """The three numbers as an array (3,)."""
        return np.array(self, np.float32)

    def with_initial_spread(self, losses: Floats) -> "Calibration":
        """Takes the spread of these losses (n,) if none is known yet."""
        if not math.isnan(self.spread):
            return self
        spread = spread_of(losses)
        return self._replace(spread=spread if spread > 0 else 1.0)

    def standardise(self, losses: Floats) -> NDArray[np.float64]:
        """Centres and scales losses (n,) for the optimizer; NaN stays NaN."""
        finite = np.isfinite(losses)
        if not finite.any():
            return np.full(len(losses), np.nan)
        centred: NDArray[np.float64] = np.where(finite, losses - losses[finite].mean(), np.nan)
        return np.clip(centred / self.spread, -MOST, MOST)

    def update(self, updates: Sequence[Update], scaled: bool = True) -> "Calibration":
        """The calibration for the next round; adapts the scale only if `scaled`."""
        finite = [u for u in updates if math.isfinite(u.loss_std) and math.isfinite(u.loss)]
        if not finite:
            return self
        weights, spreads, losses = np.array([(u.weight, u.loss_std, u.loss) for u in finite], np.float64).T
        measured, loss = (float(np.average(values, weights=weights)) for values in (spreads, losses))
        before = 0.0 if math.isnan(self.spread) else self.spread
        spread = (self.rounds * before + measured) / (self.rounds + 1)
        new = Calibration(self.scale, spread if spread > 0 else math.nan, self.rounds + 1)
        if self.rounds >= FIRST or not scaled:
            return new
        if measured <= FAINT * loss:
            return new.scaled(2.0)
        return new.scaled(0.5) if measured > COARSE * loss else new

    def scaled(self, factor: float) -> "Calibration":
        """Multiplies steps and perturbations; the spread of a smooth loss grows by the same factor."""
        return self._replace(scale=self.scale * factor, spread=self.spread * factor)


def spread_of(losses: Floats) -> float:
    """The standard deviation (nats) of the finite losses in (n,); NaN if there are fewer than two."""
    finite = losses[np.isfinite(losses)]
    return float(finite.std()) if len(finite) > 1 else math.nan


def finite_mean(values: NDArray[np.float64]) -> float:
    """The mean of the finite values; NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def mean_loss(updates: Sequence[Update]) -> float:
    """The mean loss (nats) over the clients that measured one."""
    return finite_mean(np.array([u.loss for u in updates]))

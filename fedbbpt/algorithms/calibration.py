"""Steps that need no tuning: what an optimizer sees is brought to one scale, from the answers as they come.

A zero-order step is a·ΔL/(2c): its length depends on the scale of the losses and on that of θ, which nobody knows
beforehand (Spall 1998 sets a and c by hand from a few measurements). Here the optimizer moves in units of `scale`, and
the losses of one step are centred and divided by `spread`, their standard deviation within a step, averaged over
clients and rounds so far: then one a and one c fit all prompts, models and losses. [own design]
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Float32, Floats, Update

MOST = 1e4  # standard deviations: far beyond what a rank or a gradient can use, and small enough for float16
FAINT, COARSE = 1e-4, 0.5  # of the loss: perturbations that change it by less say little, by more say little locally
FIRST = 4  # rounds in which the scale is looked for
WORSE, MARGIN = 1.5, 0.2  # a loss above the lowest × WORSE + MARGIN (nats) is divergence


class Calibration(NamedTuple):
    """What all clients of a round are told of the scales; travels as three numbers."""

    scale: float = 1.0  # units of θ in one of the optimizer's
    spread: float = math.nan  # nats; NaN: not known yet, each client takes that of its own first step
    rounds: float = 0.0  # how many the spread was averaged over

    @classmethod
    def from_array(cls, values: Floats) -> "Calibration":
        """Inverse of `to_array`."""
        return cls(*values.tolist())

    def to_array(self) -> Float32:
        """(3,)."""
        return np.array(self, np.float32)

    def with_initial_spread(self, losses: Floats) -> "Calibration":
        """Itself, or with the spread of these losses (n,) where none is known."""
        if not math.isnan(self.spread):
            return self
        spread = spread_of(losses)
        return self._replace(spread=spread if spread > 0 else 1.0)

    def standardise(self, losses: Floats) -> NDArray[np.float64]:
        """Losses (n,) as the optimizer is told them; NaN stays NaN."""
        finite = np.isfinite(losses)
        if not finite.any():
            return np.full(len(losses), np.nan)
        centred: NDArray[np.float64] = np.where(finite, losses - losses[finite].mean(), np.nan)
        return np.clip(centred / self.spread, -MOST, MOST)

    def update(self, updates: Sequence[Update], scaled: bool = True) -> "Calibration":
        """The calibration of the next round; unless `scaled`, its scale stays."""
        told = [(u.weight, u.loss_std, u.loss) for u in updates if math.isfinite(u.loss_std) and math.isfinite(u.loss)]
        if not told:
            return self
        weights, spreads, losses = np.array(told, np.float64).T
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
        """Other steps and perturbations; the spread follows, as far as the loss is smooth."""
        return self._replace(scale=self.scale * factor, spread=self.spread * factor)


def spread_of(losses: Floats) -> float:
    """Standard deviation (nats) of the finite ones among losses (n,); NaN with fewer than two."""
    finite = losses[np.isfinite(losses)]
    return float(finite.std()) if len(finite) > 1 else math.nan


def diverged(loss: float, lowest: float) -> bool:
    """Whether a round's loss says that the steps led away (or overflowed)."""
    return math.isfinite(lowest) and not loss <= WORSE * lowest + MARGIN


def finite_mean(values: NDArray[np.float64]) -> float:
    """The mean of what is finite; NaN without any."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def mean_loss(updates: Sequence[Update]) -> float:
    """The mean over the clients that measured anything."""
    return finite_mean(np.array([u.loss for u in updates]))

"""Gradient estimates from pairs of losses, for all optimizers that step along them.

The defaults of `a` let the first step move a coordinate by about 0.3: losses of standard deviation 1 differ by 2
between the two sides of a direction, so that an estimate from m directions of signs has the size 1 / (c √m) per
coordinate.
"""

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.optim import OptimizerBase, OptimizerStart
from fedbbpt.types import Floats

Array = NDArray[np.float64]


class Gains(NamedTuple):
    """The sequences a_k and c_k, k = 1, 2, … (Spall 1998, eqs. 3 and 4)."""

    a: float
    c: float
    alpha: float
    gamma: float
    stability_constant: float  # Spall's A

    def step_size(self, k: int) -> float:
        """a_k = a / (k + A)^alpha."""
        return float(self.a / (k + self.stability_constant) ** self.alpha)

    def radius(self, k: int) -> float:
        """c_k = c / k^gamma."""
        return float(self.c / k**self.gamma)


class TwoPoint(OptimizerBase):
    """Measures losses on both sides of x along random signs, and steps along the estimated gradient.

    Directions without finite losses on both sides are left out of the estimate. Steps k are counted over all rounds.

    Args:
        start: where the client starts into the round.
        a: numerator of the step size a_k = a / (k + A)^alpha.
        c: numerator of the perturbation's size c_k = c / k^gamma.
        alpha: exponent with which the step size falls.
        gamma: exponent with which the perturbation falls.
        stability_constant: Spall's A, which shortens the first steps (Spall 1998, eq. 3).
        num_directions: random directions per step; each takes two candidates.
    """

    _state_vectors: ClassVar[int] = 0  # number of vectors (d,) in the state

    def __init__(self, start: OptimizerStart, gains: Gains, num_directions: int) -> None:
        super().__init__(start, np.zeros(self._state_vectors * len(start.x)))
        self.population_size = 2 * num_directions
        self._gains, self._k = gains, start.step

    def ask(self) -> Array:
        """x + c_k Δ for all directions, then x − c_k Δ: (2 · num_directions, d)."""
        self._begin_ask()
        self._k += 1
        self._directions = self._draw((self.population_size // 2, len(self.x)))
        centre, perturbation = self._centre(), self._gains.radius(self._k) * self._directions
        return np.concatenate([centre + perturbation, centre - perturbation])

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`."""
        plus, minus = np.split(self._begin_tell(losses), 2)  # (num_directions,) each
        measured = np.isfinite(plus) & np.isfinite(minus)
        if measured.any():
            slopes = (plus - minus)[measured] / (2 * self._gains.radius(self._k))
            self._learn(self._estimate(slopes, self._directions[measured]))

    def _draw(self, shape: tuple[int, int]) -> Array:
        """Directions Δ."""
        return self._rng.choice([-1.0, 1.0], shape)

    def _centre(self) -> Array:
        """The point around which candidates lie."""
        return self.x

    def _estimate(self, slopes: Array, directions: Array) -> Array:
        """The gradient (d,) from slopes (m,) along directions (m, d)."""
        estimate: Array = (slopes[:, None] / directions).mean(0)  # Spall 1992, eq. 2.2
        return estimate

    def _learn(self, gradient: Array) -> None:
        self.x = self.x - self._gains.step_size(self._k) * self._descent(gradient)

    def _descent(self, gradient: Array) -> Array:
        """The direction of the step, before its size."""
        return gradient


class GaussianTwoPoint(TwoPoint):
    """Two-point estimates along Gaussian directions (Nesterov & Spokoiny 2017, FoCM 17(2))."""

    def _draw(self, shape: tuple[int, int]) -> Array:
        return self._rng.standard_normal(shape)

    def _estimate(self, slopes: Array, directions: Array) -> Array:
        estimate: Array = (slopes[:, None] * directions).mean(0)  # Nesterov & Spokoiny 2017, section 3
        return estimate


def rms(vector: Array) -> float:
    """The root mean square of a vector's coordinates: ‖v‖ / √d."""
    return float(np.sqrt(np.mean(vector**2)))

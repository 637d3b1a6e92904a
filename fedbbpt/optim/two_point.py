"""Gradient estimates from pairs of losses, for all optimizers that step along them.

Losses of standard deviation 1 differ by 2 between the two sides of a direction, so that a gradient has the size
1 / (c √d) a coordinate. An estimate from m directions of signs in d dimensions is longer by √(1 + d / m), since most of
it is chance: the cosine of its angle with the gradient is 1 / √(1 + d / m), about √(m / d) for few directions. A step
along it must be shorter by as much. m counts the directions of all clients.
"""

import math
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.optim import OptimizerBase, OptimizerStart, unit
from fedbbpt.types import Floats

Array = NDArray[np.float64]


FIRST_STEP = 0.3  # of a coordinate, along the gradient itself
ALONE = 2  # directions per step of a single client; several clients have one each


class Gains(NamedTuple):
    """The sequences a_k and c_k, k = 1, 2, … (Spall 1998, eqs. 3 and 4)."""

    a: float | None  # None: such that the first step moves a coordinate by `first_step`
    c: float | None  # None: 1, or less where there are many dimensions
    alpha: float
    gamma: float
    stability_constant: float  # Spall's A

    def step_decay(self, k: int) -> float:
        """a_k / a = 1 / (k + A)^alpha."""
        return float((k + self.stability_constant) ** -self.alpha)

    def radius_decay(self, k: int) -> float:
        """c_k / c = 1 / k^gamma."""
        return float(k**-self.gamma)


class TwoPoint(OptimizerBase):
    """Measures losses on both sides of x along random signs, and steps along the estimated gradient.

    Directions without finite losses on both sides are left out of the estimate. Steps k are counted over all rounds.

    Args:
        start: where the client starts into the round.
        gains: the sizes of steps and perturbations.
        num_directions: random directions per step, each of two candidates; unset, one where several clients take part,
            and two for a single one.

    `alpha` says how fast steps shrink. `gamma` says how fast the distance of the candidates shrinks. The larger
    `stability_constant` is, the shorter are the first steps.
    """

    _state_vectors: ClassVar[int] = 0  # number of vectors (d,) in the state
    _first_step = 1  # the first k with a step

    def __init__(self, start: OptimizerStart, gains: Gains, num_directions: int | None) -> None:
        super().__init__(start, np.zeros(self._state_vectors * len(start.x)))
        count = num_directions or (1 if start.clients > 1 else ALONE)
        self.population_size = 2 * count
        self._gains, self._k = gains, start.step
        dim = max(len(start.x), 1)
        self._c = unit(dim) if gains.c is None else gains.c
        if gains.a is None:
            size = self._descent_size(count, start.clients) * gains.step_decay(self._first_step)
            self._a = first_step(count * start.clients, dim) / size
        else:
            self._a = gains.a

    def ask(self) -> Array:
        """x + c_k Δ for all directions, then x − c_k Δ: (2 · num_directions, d)."""
        self._begin_ask()
        self._k += 1
        self._directions = self._draw((self.population_size // 2, len(self.x)))
        centre, perturbation = self._centre(), self._radius * self._directions
        return np.concatenate([centre + perturbation, centre - perturbation])

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`."""
        plus, minus = np.split(self._begin_tell(losses), 2)  # (num_directions,) each
        measured = np.isfinite(plus) & np.isfinite(minus)
        if measured.any():
            slopes = (plus - minus)[measured] / (2 * self._radius)
            self._learn(self._estimate(slopes, self._directions[measured]))

    @property
    def _radius(self) -> float:
        """c_k."""
        return self._c * self._gains.radius_decay(self._k)

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
        self.x = self.x - self._a * self._gains.step_decay(self._k) * self._descent(gradient)

    def _descent(self, gradient: Array) -> Array:
        """The direction of the step, before its size."""
        return gradient

    def _descent_size(self, directions: int, clients: int) -> float:
        """The size a coordinate of the clients' mean first `_descent` where the losses' standard deviation is 1."""
        return math.sqrt(1 / (directions * clients) + 1 / max(len(self.x), 1)) / self._c


class GaussianTwoPoint(TwoPoint):
    """Two-point estimates along Gaussian directions (Nesterov & Spokoiny 2017, FoCM 17(2))."""

    def _draw(self, shape: tuple[int, int]) -> Array:
        return self._rng.standard_normal(shape)

    def _estimate(self, slopes: Array, directions: Array) -> Array:
        estimate: Array = (slopes[:, None] * directions).mean(0)  # Nesterov & Spokoiny 2017, section 3
        return estimate


def first_step(directions: int, dim: int) -> float:
    """How far the first step moves a coordinate by default: 0.3 u^1.5 / √(1 + d / m), m directions, u the `unit` of d.

    What of a step is chance raises the loss by the curvature in all dimensions. With u in place of u^1.5, `low-rank`
    (d = 105) under ten clients was above its start more often; with u², `coordinator` (d = 10,064) learned nothing in
    5,000 queries.

    >>> round(first_step(1, 13), 2), round(first_step(10, 13), 2)
    (0.08, 0.2)
    """
    return FIRST_STEP * math.pow(unit(dim), 1.5) / math.sqrt(1 + dim / directions)


def rms(vector: Array) -> float:
    """The root mean square of a vector's coordinates: ‖v‖ / √d."""
    return float(np.sqrt(np.mean(vector**2)))

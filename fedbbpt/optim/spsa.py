"""Simultaneous perturbation: a gradient estimate from two losses, whatever the dimension.

Spall 1992 (IEEE TAC 37(3)) and 1998 (Johns Hopkins APL Technical Digest 19(4)); SPSA-GC: Oh et al. 2023,
arXiv 2303.14773, section 4.2; the clipped estimate: Park et al. 2025 (ZIP, ICLR).

The defaults of `a` let the first step move a coordinate by about 0.3: losses of standard deviation 1 differ by 2
between the two sides of a direction, so that an estimate of m directions of signs has the size 1 / (c √m) a coordinate.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from fedbbpt.optim import Count, OptimizerBase, OptimizerStart
from fedbbpt.types import Floats


class Spsa(OptimizerBase):
    """Simultaneous perturbation with random signs (Spall 1992).

    x ← x − a_k ĝ, ĝ = mean over directions Δ of (L(x + c_k Δ) − L(x − c_k Δ)) / (2 c_k Δ), Δ of random signs.

    a_k = a / (k + A)^alpha, c_k = c / k^gamma, k = 1, 2, … counted through all rounds, A = `stability_constant`
    (Spall 1998, eqs. 3, 4).
    A direction without a finite loss on either side is left out of the mean.

    Default `a`: the first step moves a coordinate by a / (c √num_directions) = 0.3.
    """

    _vectors: ClassVar[int] = 0  # number of vectors (d,) in the state

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        a: PositiveFloat = 0.15,
        c: PositiveFloat = 0.5,
        alpha: NonNegativeFloat = 0.602,
        gamma: NonNegativeFloat = 0.101,
        stability_constant: NonNegativeFloat = 0.0,
        num_directions: Count = 1,
    ) -> None:
        super().__init__(start, np.zeros(self._vectors * len(start.x)))
        self.population_size = 2 * num_directions
        self._k = start.step
        self._a, self._alpha, self._stability = a, alpha, stability_constant
        self._c, self._gamma = c, gamma

    def ask(self) -> NDArray[np.float64]:
        """x + c_k Δ for all directions, then x − c_k Δ: shape (2 · num_directions, d)."""
        self._begin_ask()
        self._k += 1
        self._radius = self._c / self._k**self._gamma
        self._directions = self._draw((self.population_size // 2, len(self.x)))
        centre, perturbation = self._centre(), self._radius * self._directions
        return np.concatenate([centre + perturbation, centre - perturbation])

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`."""
        plus, minus = np.split(self._begin_tell(losses), 2)  # (directions,) each
        measured = np.isfinite(plus) & np.isfinite(minus)
        if measured.any():
            slopes = (plus - minus)[measured] / (2 * self._radius)
            self._learn(self._estimate(slopes, self._directions[measured]))

    def _draw(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        return self._rng.choice([-1.0, 1.0], shape)

    def _centre(self) -> NDArray[np.float64]:
        return self.x

    def _estimate(self, slopes: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
        estimate: NDArray[np.float64] = (slopes[:, None] / directions).mean(0)  # Spall 1992, eq. 2.2
        return estimate

    def _learn(self, gradient: NDArray[np.float64]) -> None:
        self.x = self.x - self._a / (self._k + self._stability) ** self._alpha * self._descent(gradient)

    def _descent(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        return gradient


class SpsaGC(Spsa):
    """SPSA with gradient correction, as in BlackVIP.

    m ← β m + ĝ, x ← x − a_k (ĝ + β m), Δ uniform on ±[½, 1]. The momentum m goes on through the rounds.

    Defaults of the gains, not of a, c and `num_directions`, are the paper's (its a = c = .01 belong to its own prompt's
    scale). Default `a`: 1 / Δ has the size √2, so the first step moves a coordinate by
    √2 (1 + β) a / ((1 + A)^alpha c √num_directions) = 0.3.
    """

    _vectors = 1

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        a: PositiveFloat = 0.15,
        c: PositiveFloat = 0.5,
        alpha: NonNegativeFloat = 0.4,
        gamma: NonNegativeFloat = 0.1,
        stability_constant: NonNegativeFloat = 1.0,
        beta: NonNegativeFloat = 0.9,
        num_directions: Count = 4,
    ) -> None:
        gains = {"a": a, "c": c, "alpha": alpha, "gamma": gamma, "stability_constant": stability_constant}
        super().__init__(start, num_directions=num_directions, **gains)
        self._beta = beta

    def _draw(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        return super()._draw(shape) * self._rng.uniform(0.5, 1, shape)

    def _descent(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        self.state = self._beta * self.state + gradient
        return gradient + self._beta * self.state


class SpsaClip(Spsa):
    """SPSA with a clipped estimate, as in ZIP.

    ĝ ← ĝ min(1, threshold √d / ‖ĝ‖): no step moves the coordinates by more than threshold · a_k on average.

    Defaults of alpha, gamma, `stability_constant`, `num_directions` and `threshold` are the paper's. Default `a`: the
    first step moves a coordinate by a / ((1 + A)^alpha c √num_directions) = 0.3.
    """

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        a: PositiveFloat = 0.45,
        c: PositiveFloat = 0.5,
        alpha: NonNegativeFloat = 0.4,
        gamma: NonNegativeFloat = 0.1,
        stability_constant: NonNegativeFloat = 1.0,
        num_directions: Count = 5,
        threshold: PositiveFloat = 1.0,
    ) -> None:
        gains = {"a": a, "c": c, "alpha": alpha, "gamma": gamma, "stability_constant": stability_constant}
        super().__init__(start, num_directions=num_directions, **gains)
        self._threshold = threshold

    def _descent(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        return gradient / max(1.0, rms(gradient) / self._threshold)


def rms(vector: NDArray[np.float64]) -> float:
    """The size of a coordinate: ‖v‖ / √d."""
    return float(np.sqrt(np.mean(vector**2)))

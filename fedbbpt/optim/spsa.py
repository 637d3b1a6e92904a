"""Simultaneous perturbation: a gradient estimate from two losses, whatever the dimension.

Spall 1992 (IEEE TAC 37(3)) and 1998 (Johns Hopkins APL Technical Digest 19(4)); SPSA-GC: Oh et al. 2023,
arXiv 2303.14773, section 4.2.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from fedbbpt.optim import AskTell
from fedbbpt.types import Floats


class Spsa(AskTell):
    """Simultaneous perturbation with random signs (Spall 1992).

    x ← x − a_k ĝ, ĝ = mean over directions Δ of (L(x + c_k Δ) − L(x − c_k Δ)) / (2 c_k Δ), Δ of random signs.

    a_k = a / (k + stability)^alpha, c_k = c / k^gamma, k = 1, 2, … counted through all rounds (Spall 1998, eqs. 3, 4).
    A direction without a finite loss on either side is left out of the mean.
    """

    def __init__(
        self,
        x: Floats,
        rng: np.random.Generator,
        steps_before: int,
        /,
        *,
        a: PositiveFloat = 3.0,
        c: PositiveFloat = 0.5,
        alpha: NonNegativeFloat = 0.602,
        gamma: NonNegativeFloat = 0.101,
        stability: NonNegativeFloat = 0.0,
        directions: PositiveInt = 1,
    ) -> None:
        super().__init__()
        self.x = np.array(x, np.float64)
        self.population = 2 * directions
        self._rng = rng
        self._k = steps_before
        self._a, self._alpha, self._stability = a, alpha, stability
        self._c, self._gamma = c, gamma

    def ask(self) -> NDArray[np.float64]:
        """x + c_k Δ for all directions, then x − c_k Δ: shape (2 · directions, d)."""
        self._begin_ask()
        self._k += 1
        perturbation = self._c / self._k**self._gamma * self._draw((self.population // 2, len(self.x)))
        self._perturbation = perturbation
        return np.concatenate([self.x + perturbation, self.x - perturbation])

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`."""
        plus, minus = np.split(self._begin_tell(losses), 2)  # (directions,) each
        measured = np.isfinite(plus) & np.isfinite(minus)
        if measured.any():
            slopes = (plus - minus)[measured, None] / (2 * self._perturbation[measured])
            self.x = self.x - self._a / (self._k + self._stability) ** self._alpha * self._descent(slopes.mean(0))

    def _draw(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        return self._rng.choice([-1.0, 1.0], shape)

    def _descent(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        return gradient


class SpsaGC(Spsa):
    """SPSA with gradient correction, as in BlackVIP.

    m ← β m + ĝ, x ← x − a_k (ĝ + β m), Δ uniform on ±[½, 1].

    Defaults of the gains, not of a, c and `directions`, are the paper's (its a = c = .01 belong to its own prompt's
    scale; here one unit of θ is one ε).
    """

    def __init__(
        self,
        x: Floats,
        rng: np.random.Generator,
        steps_before: int,
        /,
        *,
        a: PositiveFloat = 3.0,
        c: PositiveFloat = 0.5,
        alpha: NonNegativeFloat = 0.4,
        gamma: NonNegativeFloat = 0.1,
        stability: NonNegativeFloat = 1.0,
        beta: NonNegativeFloat = 0.9,
        directions: PositiveInt = 4,
    ) -> None:
        super().__init__(
            x, rng, steps_before, a=a, c=c, alpha=alpha, gamma=gamma, stability=stability, directions=directions
        )
        self._beta = beta
        self._momentum = np.zeros_like(self.x)

    def _draw(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        return super()._draw(shape) * self._rng.uniform(0.5, 1, shape)

    def _descent(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        self._momentum = self._beta * self._momentum + gradient
        return gradient + self._beta * self._momentum

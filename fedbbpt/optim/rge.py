"""Random gradient estimation: slopes along Gaussian directions (Nesterov & Spokoiny 2017, FoCM 17(2))."""

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from fedbbpt.optim import Count, OptimizerStart
from fedbbpt.optim.spsa import Spsa


class Rge(Spsa):
    """Random gradient estimation along Gaussian directions (Nesterov & Spokoiny 2017).

    x ← x − a_k ĝ, ĝ = mean over directions u of (L(x + c_k u) − L(x − c_k u)) / (2 c_k) · u, u ~ N(0, I).

    The gains a_k and c_k and the treatment of failed queries are those of `spsa`. Default `a`: the first step moves a
    coordinate by a / (c √num_directions) = 0.3.
    """

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        a: PositiveFloat = 0.3,
        c: PositiveFloat = 0.5,
        alpha: NonNegativeFloat = 0.602,
        gamma: NonNegativeFloat = 0.101,
        stability_constant: NonNegativeFloat = 0.0,
        num_directions: Count = 4,
    ) -> None:
        gains = {"a": a, "c": c, "alpha": alpha, "gamma": gamma, "stability_constant": stability_constant}
        super().__init__(start, num_directions=num_directions, **gains)

    def _draw(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        return self._rng.standard_normal(shape)

    def _estimate(self, slopes: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
        estimate: NDArray[np.float64] = (slopes[:, None] * directions).mean(0)  # Nesterov & Spokoiny 2017, section 3
        return estimate

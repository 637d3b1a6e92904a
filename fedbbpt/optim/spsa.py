"""Simultaneous perturbation: a gradient estimate from two losses, whatever the dimension.

Spall 1992 (IEEE TAC 37(3)) and 1998 (Johns Hopkins APL Technical Digest 19(4)); SPSA-GC: Oh et al. 2023,
arXiv 2303.14773, section 4.2; the clipped estimate: Park et al. 2025 (ZIP, ICLR).
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from fedbbpt.optim import Count, OptimizerStart
from fedbbpt.optim.two_point import Gains, TwoPoint, rms


class Spsa(TwoPoint):
    """Simultaneous perturbation with random signs (Spall 1992).

    x ← x − a_k ĝ, ĝ = mean over directions Δ of (L(x + c_k Δ) − L(x − c_k Δ)) / (2 c_k Δ), Δ of random signs.

    a_k = a / (k + A)^alpha, c_k = c / k^gamma, k = 1, 2, … counted through all rounds, A = `stability_constant`
    (Spall 1998, eqs. 3, 4). A direction without a finite loss on both sides is left out of the mean.

    Unset, `c` is 1 in up to d = 13 dimensions, and √(13 / d) in more of them; `a` lets the first step move a coordinate
    by 0.3 c^1.5 / √(1 + d / m), where m counts the directions of all clients of a round (see `two_point`).

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart
    >>> optimizer = Spsa(OptimizerStart(np.full(4, 2.0), np.random.default_rng(1)), num_directions=2)
    >>> for _ in range(400):
    ...     candidates = optimizer.ask()  # (4, 4): x on both sides along each of two directions
    ...     optimizer.tell((candidates**2).sum(1))
    >>> bool((abs(optimizer.x) < 0.01).all())
    True
    """

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        a: PositiveFloat | None = None,
        c: PositiveFloat | None = None,
        alpha: NonNegativeFloat = 0.602,
        gamma: NonNegativeFloat = 0.101,
        stability_constant: NonNegativeFloat = 0.0,
        num_directions: Count | None = None,
    ) -> None:
        super().__init__(start, Gains(a, c, alpha, gamma, stability_constant), num_directions)


class SpsaGC(TwoPoint):
    """SPSA with gradient correction, as in BlackVIP.

    m ← β m + ĝ, x ← x − a_k (ĝ + β m), Δ uniform on ±[½, 1], ĝ and gains as in `spsa`. The momentum m, with the factor
    `beta` (β), is kept over all rounds.

    Defaults of the gains, not of a, c and `num_directions`, are the paper's (its a = c = .01 belong to its own prompt's
    scale). Unset, `a` and `c` are as in `spsa`.
    """

    _state_vectors = 1

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        a: PositiveFloat | None = None,
        c: PositiveFloat | None = None,
        alpha: NonNegativeFloat = 0.4,
        gamma: NonNegativeFloat = 0.1,
        stability_constant: NonNegativeFloat = 1.0,
        beta: NonNegativeFloat = 0.9,
        num_directions: Count | None = None,
    ) -> None:
        self._beta = beta
        super().__init__(start, Gains(a, c, alpha, gamma, stability_constant), num_directions)

    def _draw(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        return super()._draw(shape) * self._rng.uniform(0.5, 1, shape)

    def _descent(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        self.state = self._beta * self.state + gradient
        return gradient + self._beta * self.state

    def _descent_size(self, directions: int, clients: int) -> float:
        return math.sqrt(2) * (1 + self._beta) * super()._descent_size(directions, clients)  # 1 / Δ has the size √2


class SpsaClip(TwoPoint):
    """SPSA with a clipped estimate, as in ZIP.

    ĝ ← ĝ min(1, threshold √d / ‖ĝ‖), ĝ and gains as in `spsa`: no step moves the coordinates by more than
    threshold · a_k on average.

    Defaults of alpha, gamma, `stability_constant` and `threshold` are the paper's, which takes 5 directions. Unset, `a`
    and `c` are as in `spsa`.
    """

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        a: PositiveFloat | None = None,
        c: PositiveFloat | None = None,
        alpha: NonNegativeFloat = 0.4,
        gamma: NonNegativeFloat = 0.1,
        stability_constant: NonNegativeFloat = 1.0,
        num_directions: Count | None = None,
        threshold: PositiveFloat = 1.0,
    ) -> None:
        self._threshold = threshold
        super().__init__(start, Gains(a, c, alpha, gamma, stability_constant), num_directions)

    def _descent(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        return gradient / max(1.0, rms(gradient) / self._threshold)

    def _descent_size(self, directions: int, clients: int) -> float:
        clipped = min(1.0, self._threshold / super()._descent_size(directions, 1))
        return clipped * super()._descent_size(directions, clients)

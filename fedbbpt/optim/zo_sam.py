"""Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412), zero-order as in SharpZO (NeurIPS 2025)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from fedbbpt.optim import Count, OptimizerStart
from fedbbpt.optim.two_point import Gains, TwoPoint, rms


class ZoSam(TwoPoint):
    """Sharpness-aware SPSA: the slope is taken a little uphill, so that flat minima win.

    ĝ is estimated at x + ρ √d u / ‖u‖, and the step goes from x along it, as one of `spsa` does. Where u is a `fresh`
    estimate, asks alternate between x and the point uphill: a step costs twice the queries of one of `spsa`, and the
    first is taken at k = 2. A round may end in between; the next one begins with the second ask.

    Where u is the `previous` ĝ, a step costs what one of `spsa` does; the first has none before it, and is one of
    `spsa`. u then belongs to where x was a step ago. Little is lost by that: an estimate from few directions is mostly
    chance, a fresh one, too. With exact gradients, this is S²-SAM (Ji et al. 2024, NeurIPS).

    The state is u, scaled to the size 1 a coordinate. It outlives the round, since a round may be a single step. Where
    the states of clients are averaged, the next round goes uphill along their mean, brought back to its length. An ask
    without information changes nothing.

    Unset, `a` and `c` are as in `spsa`.

    Args:
        start: where the client starts into the round.
        rho: ρ, the distance uphill per coordinate (Foret's is ρ √d).
        ascent: what points uphill: `fresh`, an estimate at x, for twice the queries; or `previous`, that of the step
            before, for no more.

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart
    >>> optimizer = ZoSam(OptimizerStart(np.full(4, 2.0), np.random.default_rng(1)))
    >>> for _ in range(600):
    ...     optimizer.tell((optimizer.ask() ** 2).sum(1))
    >>> bool((abs(optimizer.x) < 0.01).all())
    True
    """

    _state_vectors = 1  # u; zeros where there is none

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
        rho: PositiveFloat = 0.1,
        ascent: Literal["fresh", "previous"] = "fresh",
    ) -> None:
        self._rho, self._ascent = rho, ascent
        self._first_step = 2 if ascent == "fresh" else 1
        super().__init__(start, Gains(a, c, alpha, gamma, stability_constant), num_directions)

    def _centre(self) -> NDArray[np.float64]:
        return self.x + self._rho * _unit(self.state)  # Foret et al. 2021, eq. 2

    def _learn(self, gradient: NDArray[np.float64]) -> None:
        if self._ascent == "previous":
            super()._learn(gradient)
            self.state = _unit(gradient)
        elif self.state.any():
            super()._learn(gradient)
            self.state = np.zeros_like(self.x)
        else:
            self.state = _unit(gradient)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled to the size 1 a coordinate; zeros stay zeros."""
    return vector / rms(vector) if vector.any() else vector

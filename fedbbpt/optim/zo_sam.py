"""Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412), zero-order as in SharpZO (NeurIPS 2025)."""

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from fedbbpt.optim import Count, OptimizerStart
from fedbbpt.optim.two_point import Gains, TwoPoint, rms


class ZoSam(TwoPoint):
    """Sharpness-aware SPSA: the slope is taken a little uphill, so that flat minima win.

    Asks alternate: the first estimates ĝ at x, the second at x + ρ √d ĝ / ‖ĝ‖ and steps from x with what it finds, as
    `spsa` does. `rho` (ρ) is the distance uphill per coordinate (Foret's is ρ √d).

    A round may end between the two: the direction uphill waits in the state (the clients' mean, brought back to its
    length) and the next round begins with the second ask. An ask without information is repeated.

    Unset, `a` and `c` are as in `spsa`; the first step is taken at k = 2.

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart
    >>> optimizer = ZoSam(OptimizerStart(np.full(4, 2.0), np.random.default_rng(1)))
    >>> for _ in range(600):
    ...     optimizer.tell((optimizer.ask() ** 2).sum(1))
    >>> bool((abs(optimizer.x) < 0.01).all())
    True
    """

    _first_step = 2
    _state_vectors = 1  # the direction uphill, of size 1 a coordinate, or zeros where the next ask is a first one

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
    ) -> None:
        super().__init__(start, Gains(a, c, alpha, gamma, stability_constant), num_directions)
        self._rho = rho

    def _centre(self) -> NDArray[np.float64]:
        return self.x + self._rho * _unit(self.state)  # Foret et al. 2021, eq. 2

    def _learn(self, gradient: NDArray[np.float64]) -> None:
        if self.state.any():
            super()._learn(gradient)
            self.state = np.zeros_like(self.x)
        else:
            self.state = _unit(gradient)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled to the size 1 a coordinate; zeros stay zeros."""
    return vector / rms(vector) if vector.any() else vector

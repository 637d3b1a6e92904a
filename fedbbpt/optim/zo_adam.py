"""Adam on estimated gradients: Kingma & Ba 2015 (arXiv 1412.6980), zero-order as in Chen et al. 2019 (ZO-AdaMM)."""

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat

from fedbbpt.optim import Count, OptimizerStart
from fedbbpt.optim.two_point import Gains, GaussianTwoPoint


class ZoAdam(GaussianTwoPoint):
    """Adam on the gradient estimates of `rge`.

    m ← β₁ m + (1 − β₁) ĝ, v ← β₂ v + (1 − β₂) ĝ², x ← x − a_k m̂ / (√v̂ + ε), m̂ = m / (1 − β₁^k), v̂ = v / (1 − β₂^k).

    The moments are kept over all rounds, and k counts the steps of all rounds. The first step moves every coordinate by
    a, whatever the spread of the losses. Unset, `a` and `c` are as in `spsa`. a_k falls more slowly than
    there, since Adam's steps shrink by themselves where the estimates disagree.

    Args:
        start: where the client starts into the round.
        beta1: β₁, the decay of the first moment.
        beta2: β₂, the decay of the second moment.
        epsilon: ε, which keeps the denominator above zero.

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart
    >>> optimizer = ZoAdam(OptimizerStart(np.full(4, 2.0), np.random.default_rng(1)))
    >>> for _ in range(200):
    ...     optimizer.tell((optimizer.ask() ** 2).sum(1))
    >>> bool((abs(optimizer.x) < 0.01).all())
    True
    """

    _state_vectors = 2

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        a: PositiveFloat | None = None,
        c: PositiveFloat | None = None,
        alpha: NonNegativeFloat = 0.4,
        gamma: NonNegativeFloat = 0.101,
        stability_constant: NonNegativeFloat = 0.0,
        num_directions: Count | None = None,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        epsilon: PositiveFloat = 1e-8,
    ) -> None:
        super().__init__(start, Gains(a, c, alpha, gamma, stability_constant), num_directions)
        self._betas = np.array([[beta1], [beta2]])
        self._epsilon = epsilon

    def _descent(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        moments = self.state.reshape(2, -1)  # m, v
        moments = self._betas * moments + (1 - self._betas) * np.stack([gradient, gradient**2])
        self.state = moments.ravel()
        mean, square = moments / (1 - self._betas**self._k)  # Kingma & Ba 2015, algorithm 1
        descent: NDArray[np.float64] = mean / (np.sqrt(square) + self._epsilon)
        return descent

    def _descent_size(self, directions: int, clients: int) -> float:
        return 1 / math.sqrt(clients)  # each client moves all coordinates by 1, in directions that differ

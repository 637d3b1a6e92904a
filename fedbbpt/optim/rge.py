"""Random gradient estimation: slopes along Gaussian directions (Nesterov & Spokoiny 2017, FoCM 17(2))."""

from pydantic import NonNegativeFloat, PositiveFloat

from fedbbpt.optim import Count, OptimizerStart
from fedbbpt.optim.two_point import Gains, GaussianTwoPoint


class Rge(GaussianTwoPoint):
    """Random gradient estimation along Gaussian directions (Nesterov & Spokoiny 2017).

    x ← x − a_k ĝ, ĝ = mean over directions u of (L(x + c_k u) − L(x − c_k u)) / (2 c_k) · u, u ~ N(0, I).

    The gains a_k and c_k, `a` and `c` where unset, and the treatment of failed queries are those of `spsa`.

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart
    >>> optimizer = Rge(OptimizerStart(np.full(4, 2.0), np.random.default_rng(1)))
    >>> for _ in range(400):
    ...     optimizer.tell((optimizer.ask() ** 2).sum(1))
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

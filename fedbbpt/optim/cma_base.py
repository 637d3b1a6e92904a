"""What the CMA evolution strategies share: a library behind ask and tell, NaN losses, and state across rounds.

The library works in coordinates z, x = origin + scale · z, where its usual start, N(0, σ² I), is the distribution that
the last round left, diagonal included. Hansen 2016: arXiv 1604.00772.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from fedbbpt.errors import ConfigError
from fedbbpt.optim import OptimizerBase, OptimizerStart
from fedbbpt.types import Floats


class CmaBase(OptimizerBase, ABC):
    """A CMA evolution strategy implemented by a library.

    Candidates without a loss rank last; if fewer than half have one, or all losses are equal, the generation is
    dropped. The optimizer's state holds log σ and the logarithm of C's diagonal, of mean 0.

    Args:
        name: the optimizer's name, for errors.
        start: where the client starts into the round.
        sigma: σ, the initial standard deviation per coordinate.
    """

    def __init__(self, name: str, start: OptimizerStart, sigma: float) -> None:
        d = len(start.x)
        if d < 2:
            raise ConfigError(f"optimizer {name!r} needs at least 2 dimensions, the prompt has {d}")
        super().__init__(start, [np.log(sigma), *np.zeros(d)])
        self._origin = self.x
        self._sigma = float(np.exp(self.state[0]))
        self._scale = np.exp(self.state[1:] / 2)  # (d,)
        self._generation = 0

    def ask(self) -> NDArray[np.float64]:
        """See `Optimizer`."""
        self._begin_ask()
        self._sampled = self._sample()  # z: (n, d)
        return self._origin + self._scale * self._sampled

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`."""
        losses = self._begin_tell(losses)
        measured = losses[np.isfinite(losses)]
        if 2 * len(measured) < self.population_size or measured.min() == measured.max():
            return
        order = np.where(np.isfinite(losses), losses, np.inf).argsort(kind="stable")
        before = np.log(self._stds())
        self._update(self._sampled, order.argsort().astype(np.float64))
        self._generation += 1
        self.x = self._origin + self._scale * self._mean()
        log_stds = self.state[0] + self.state[1:] / 2 + np.log(self._stds()) - before  # (d,)
        level = log_stds.mean()
        self.state = np.array([level + self._young_path(), *2 * (log_stds - level)])

    def _young_path(self) -> float:
        """What log σ loses in a generation only because the evolution path starts at 0 in every round.

        After t generations without any selection the path's squared length is 1 − (1 − c)^(2t) of what it should be
        (Hansen 2016, eq. 43), and log σ changes by c / d_σ · (‖p‖ / E‖N(0, I)‖ − 1) (eq. 44). Unless that is returned,
        short rounds shrink σ whatever the losses say.
        """
        n, dim = self.population_size, len(self._origin)
        weights = np.log((n + 1) / 2) - np.log(np.arange(1, n // 2 + 1))  # eq. 49
        mu = weights.sum() ** 2 / (weights**2).sum()
        c = (mu + 2) / (dim + mu + 5)  # eq. 55
        damping = 1 + 2 * max(0.0, np.sqrt((mu - 1) / (dim + 1)) - 1) + c
        return float(c / damping * (1 - np.sqrt(1 - (1 - c) ** (2 * self._generation))))

    @abstractmethod
    def _mean(self) -> NDArray[np.float64]:
        """z: (d,)."""

    @abstractmethod
    def _stds(self) -> NDArray[np.float64]:
        """Standard deviations of z: (d,)."""

    @abstractmethod
    def _sample(self) -> NDArray[np.float64]:
        """z: (n, d)."""

    @abstractmethod
    def _update(self, sampled: NDArray[np.float64], ranks: NDArray[np.float64]) -> None:
        """Learns from z (n, d) and their ranks (n,), the best 0."""

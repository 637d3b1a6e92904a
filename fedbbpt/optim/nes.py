"""The separable natural evolution strategy SNES: Schaul, Glasmachers & Schmidhuber 2011 (GECCO, pp. 845–852)."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from fedbbpt.optim import MOST_ASKED, OptimizerBase, OptimizerStart
from fedbbpt.types import Floats


class Nes(OptimizerBase):
    """Separable natural evolution strategy: follows the natural gradient of ranks, with one step size a coordinate.

    Candidates x ± σ s, s ~ N(0, I), σ = `sigma` at first; x ← x + σ Σ u s, σ ← σ exp(η / 2 · Σ u (s² − 1)), η = (3 + ln
    d) / (5 √d), with utilities u that depend on ranks only, equal losses sharing theirs. σ goes on through the rounds.

    `population_size` is even, the next such number from 4 + ⌊3 ln d⌋ on unless given. Pairs without both losses are
    left out; where fewer than half are measured, or all losses are equal, the generation is dropped. The first step
    moves a coordinate by about σ / √(population_size / 4), 0.3 with the defaults.

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart
    >>> optimizer = Nes(OptimizerStart(np.full(4, 2.0), np.random.default_rng(1)))
    >>> for _ in range(100):
    ...     optimizer.tell((optimizer.ask() ** 2).sum(1))
    >>> bool((abs(optimizer.x) < 0.01).all())
    True
    """

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        sigma: PositiveFloat = 0.75,
        population_size: Annotated[int, Field(ge=2, le=MOST_ASKED, multiple_of=2)] | None = None,
    ) -> None:
        super().__init__(start, np.full(len(start.x), np.log(sigma)))  # log σ
        default = 4 + int(3 * np.log(max(len(start.x), 1)))
        self.population_size = population_size or default + default % 2

    def ask(self) -> NDArray[np.float64]:
        """x + σ s for all directions, then x − σ s: shape (n, d)."""
        self._begin_ask()
        half = self._rng.standard_normal((self.population_size // 2, len(self.x)))
        self._samples = np.concatenate([half, -half])  # s: (n, d)
        candidates: NDArray[np.float64] = self.x + np.exp(self.state) * self._samples
        return candidates

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`."""
        losses = self._begin_tell(losses)
        measured = np.tile(np.isfinite(losses.reshape(2, -1)).all(0), 2)
        if 2 * measured.sum() >= self.population_size and np.ptp(losses[measured]) > 0:
            utilities, samples = utilities_of(losses[measured]), self._samples[measured]
            dim = len(self.x)
            rate = (3 + np.log(dim)) / (5 * np.sqrt(dim))  # Wierstra et al. 2014 (JMLR 15), table 1
            self.x = self.x + np.exp(self.state) * (utilities @ samples)
            self.state = self.state + rate / 2 * (utilities @ (samples**2 - 1))


def utilities_of(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Utilities (n,) that sum to 0, largest for the smallest loss; equal losses share theirs."""
    n = len(losses)
    raw = np.maximum(0, np.log(n / 2 + 1) - np.log(np.arange(1, n + 1)))  # ibid.
    shaped = raw / raw.sum() - 1 / n
    _, group, counts = np.unique(losses, return_inverse=True, return_counts=True)
    by_rank = np.repeat(np.arange(len(counts)), counts)  # the group of each rank
    utilities: NDArray[np.float64] = (np.bincount(by_rank, shaped) / counts)[group]
    return utilities

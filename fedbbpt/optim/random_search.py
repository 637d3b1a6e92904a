"""Random search: the baseline of all optimizers, and a source of independent candidates."""

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from fedbbpt.optim import Count, OptimizerBase, OptimizerStart, unit
from fedbbpt.types import Floats


class RandomSearch(OptimizerBase):
    """Random search: tries normal steps from x, and moves to the best of them ("(1, λ)": Rechenberg 1973).

    The standard deviation of the steps is sigma / (1 + k)^decay; k counts the steps of all rounds before.

    Args:
        start: where the client starts into the round.
        sigma: standard deviation of the first steps, per coordinate; unset, 1 in up to d = 13 dimensions, and √(13 / d)
            in more of them.
        decay: exponent with which the standard deviation falls.
        population_size: steps tried at once.

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart
    >>> optimizer = RandomSearch(OptimizerStart(np.full(4, 2.0), np.random.default_rng(1)))
    >>> for _ in range(200):
    ...     optimizer.tell((optimizer.ask() ** 2).sum(1))
    >>> bool((abs(optimizer.x) < 0.5).all())
    True
    """

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        sigma: PositiveFloat | None = None,
        decay: NonNegativeFloat = 0.5,
        population_size: Count = 8,
    ) -> None:
        super().__init__(start)
        self.population_size = population_size
        self._step = start.step
        self._sigma, self._decay = sigma or unit(len(self.x)), decay

    def ask(self) -> NDArray[np.float64]:
        """Normal steps from x: (population_size, d)."""
        self._begin_ask()
        sigma = self._sigma / (1 + self._step) ** self._decay
        candidates: NDArray[np.float64] = self.x + sigma * self._rng.normal(size=(self.population_size, len(self.x)))
        self._candidates, self._step = candidates.copy(), self._step + 1
        return candidates

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`."""
        losses = self._begin_tell(losses)
        if np.isfinite(losses).any():
            self.x = self._candidates[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))].copy()

"""Random search: the yardstick of every search, and what proposes candidates where each is judged on its own."""

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat

from fedbbpt.optim import AskTell, Count
from fedbbpt.types import Floats


class Random(AskTell):
    """Random search: tries normal steps from x, and moves to the best of them ("(1, λ)": Rechenberg 1973).

    Their standard deviation is σ / (1 + steps)^decay, steps counted through all rounds.
    """

    def __init__(
        self,
        x: Floats,
        rng: np.random.Generator,
        steps_before: int,
        memory: Floats | None,
        /,
        *,
        sigma: PositiveFloat = 1.0,
        decay: NonNegativeFloat = 0.5,
        population: Count = 8,
    ) -> None:
        super().__init__(memory)
        self.x = np.array(x, np.float64)
        self.population = population
        self._rng, self._steps = rng, steps_before
        self._sigma, self._decay = sigma, decay

    def ask(self) -> NDArray[np.float64]:
        """Normal steps from x: (population, d)."""
        self._begin_ask()
        sigma = self._sigma / (1 + self._steps) ** self._decay
        candidates: NDArray[np.float64] = self.x + sigma * self._rng.normal(size=(self.population, len(self.x)))
        self._candidates, self._steps = candidates.copy(), self._steps + 1
        return candidates

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`."""
        losses = self._begin_tell(losses)
        if np.isfinite(losses).any():
            self.x = self._candidates[int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))].copy()

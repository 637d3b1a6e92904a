"""Separable CMA-ES (Ros & Hansen 2008) as implemented by the library `cmaes`, behind ask/tell with NaN."""

from typing import Annotated

import cmaes
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat

from fedbbpt.errors import ConfigError
from fedbbpt.optim import AskTell
from fedbbpt.types import Floats


class SepCma(AskTell):
    """Separable CMA-ES: an evolution strategy that adapts one variance a coordinate.

    The step size starts at σ / (1 + steps before)^decay, since the variances adapted in a client's round stay there.
    `population` is 4 + ⌊3 ln d⌋ unless given. A candidate that could not be measured ranks last; where fewer than half
    were measured the generation is dropped.
    """

    def __init__(
        self,
        x: Floats,
        rng: np.random.Generator,
        steps_before: int,
        /,
        *,
        sigma: PositiveFloat = 1.0,
        decay: NonNegativeFloat = 0.3,
        population: Annotated[int, Field(ge=2)] | None = None,
    ) -> None:
        super().__init__()
        if len(x) < 2:
            raise ConfigError(f"optimizer 'sep-cma' needs at least 2 dimensions, the prompt has {len(x)}")
        sigma = sigma / (1 + steps_before) ** decay
        seed = int(rng.integers(2**31))
        self._cma = cmaes.SepCMA(np.array(x, np.float64), sigma, seed=seed, population_size=population)
        self.population = self._cma.population_size

    @property
    def x(self) -> NDArray[np.float64]:
        """The distribution's mean."""
        mean: NDArray[np.float64] = self._cma.mean
        return mean.copy()

    def ask(self) -> NDArray[np.float64]:
        """See `Optimizer`."""
        self._begin_ask()
        self._candidates = np.stack([self._cma.ask() for _ in range(self.population)])
        return self._candidates.copy()

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`."""
        losses = self._begin_tell(losses)
        if 2 * np.isfinite(losses).sum() >= self.population:
            ranked = np.where(np.isnan(losses), np.inf, losses)
            self._cma.tell(list(zip(self._candidates, ranked.tolist(), strict=True)))

"""Separable CMA-ES (Ros & Hansen 2008) as implemented by the library `cmaes`."""

from typing import Annotated

import cmaes
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from fedbbpt.optim import MOST_ASKED, OptimizerStart
from fedbbpt.optim.cma_base import CmaBase


class SepCma(CmaBase):
    """Separable CMA-ES: an evolution strategy that adapts one variance a coordinate.

    `population_size` is 4 + ⌊3 ln d⌋ unless given. A candidate that could not be measured ranks last; where fewer than
    half were measured, or all losses are equal, the generation is dropped. Step size and variances go on through the
    rounds.

    Only ranks count: the first step moves a coordinate by about σ / √(population_size / 4), 0.3 with the defaults.

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart
    >>> optimizer = SepCma(OptimizerStart(np.full(4, 2.0), np.random.default_rng(1)))
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
        population_size: Annotated[int, Field(ge=2, le=MOST_ASKED)] | None = None,
    ) -> None:
        super().__init__("sep-cma", start, sigma)
        seed = int(self._rng.integers(2**31))
        self._cma = cmaes.SepCMA(np.zeros(len(start.x)), self._sigma, seed=seed, population_size=population_size)
        self.population_size = self._cma.population_size

    def _mean(self) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = self._cma.mean
        return mean

    def _stds(self) -> NDArray[np.float64]:
        stds: NDArray[np.float64] = self._cma._sigma * self._cma._eigen_decomposition()  # not public in cmaes 0.13
        return stds

    def _sample(self) -> NDArray[np.float64]:
        return np.stack([self._cma.ask() for _ in range(self.population_size)])

    def _update(self, sampled: NDArray[np.float64], ranks: NDArray[np.float64]) -> None:
        self._cma.tell(list(zip(sampled, ranks.tolist(), strict=True)))

"""CMA-ES with a full covariance matrix (Hansen 2016, arXiv 1604.00772) as implemented by the library `cma` (pycma)."""

import warnings
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from fedbbpt.errors import ConfigError
from fedbbpt.optim import MOST_ASKED, OptimizerStart, unit
from fedbbpt.optim.cma_base import CmaBase

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Could not import matplotlib", UserWarning)  # only its plots need that
    import cma
    from cma.sigma_adaptation import CMAAdaptSigmaCSA

LIMIT = 300  # dimensions; a step costs time in d³


class Cma(CmaBase):
    """CMA-ES: an evolution strategy that learns how the coordinates vary together, for up to 300 of them.

    `population_size` is 4 + ⌊3 ln d⌋ unless given. A candidate that could not be measured ranks last; where fewer than
    half were measured, or all losses are equal, the generation is dropped. Step size and variances go on through the
    rounds; correlations are learned anew in each.

    Only ranks count: the first step moves a coordinate by about σ / √(population_size / 4). Unset, σ (`sigma`) is 1.5
    in up to d = 13 dimensions, and 1.5 √(13 / d) in more of them. Under the algorithm `common-candidates`, correlations
    and evolution paths live on through the rounds, too.

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart
    >>> optimizer = Cma(OptimizerStart(np.full(4, 2.0), np.random.default_rng(1)))
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
        sigma: PositiveFloat | None = None,
        population_size: Annotated[int, Field(ge=3, le=MOST_ASKED)] | None = None,
    ) -> None:
        d = len(start.x)
        if d > LIMIT:
            raise ConfigError(f"optimizer 'cma' takes up to {LIMIT} dimensions, the prompt has {d}: use 'sep-cma'")
        super().__init__("cma", start, sigma or 1.5 * unit(d))
        options = {
            "verbose": -9,
            "seed": np.nan,  # leaves numpy's global state alone
            "randn": lambda count, dim: self._rng.standard_normal((count, dim)),
            "AdaptSigma": CMAAdaptSigmaCSA,  # True would mean another rule from 300 dimensions on
            "CMA_mirrors": 0,
        }
        if population_size is not None:
            options["popsize"] = population_size
        self._cma = cma.CMAEvolutionStrategy(np.zeros(d), self._sigma, options)
        self.population_size = int(self._cma.popsize)

    def _mean(self) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = self._cma.mean
        return mean

    def _stds(self) -> NDArray[np.float64]:
        stds: NDArray[np.float64] = self._cma.stds
        return stds

    def _sample(self) -> NDArray[np.float64]:
        return np.stack(self._cma.ask())

    def _update(self, sampled: NDArray[np.float64], ranks: NDArray[np.float64]) -> None:
        self._cma.tell(list(sampled), ranks.tolist())

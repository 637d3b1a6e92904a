"""The optimizer of prompts without parameters."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.optim import OptimizerBase, OptimizerStart
from fedbbpt.types import Floats


class NoOp(OptimizerBase):
    """Asks about x itself, and stays there."""

    population_size = 1

    def __init__(self, start: OptimizerStart, /) -> None:
        super().__init__(start)

    def ask(self) -> NDArray[np.float64]:
        """x alone: (1, d)."""
        self._begin_ask()
        return self.x[None].copy()

    def tell(self, losses: Floats) -> None:
        """Checked and forgotten."""
        self._begin_tell(losses)

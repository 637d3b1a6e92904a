"""The optimizer of prompts that have nothing to tune."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.optim import AskTell
from fedbbpt.types import Floats


class Still(AskTell):
    """Asks for x itself and stays there."""

    population = 1

    def __init__(self, x: Floats, rng: np.random.Generator, steps_before: int, memory: Floats | None, /) -> None:
        super().__init__(memory)
        self.x = np.array(x, np.float64)

    def ask(self) -> NDArray[np.float64]:
        """x alone: (1, d)."""
        self._begin_ask()
        return self.x[None].copy()

    def tell(self, losses: Floats) -> None:
        """Checked and forgotten."""
        self._begin_tell(losses)

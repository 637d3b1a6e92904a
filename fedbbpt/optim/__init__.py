"""Zero-order optimizers: ask for candidates, tell their losses. They know nothing of prompts, backends or clients."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Floats


class Optimizer(Protocol):
    """Improves x from losses alone.

    An optimizer lives for one client's round, so it has no state to save: the class takes the point to start from, a
    random generator and the number of steps taken in earlier rounds (the gain schedules go on from there) as its
    positional arguments, and its own options by keyword.
    """

    x: NDArray[np.float64]  # (d,) the best guess
    population: int  # n, how many candidates one `ask` returns

    def ask(self) -> NDArray[np.float64]:
        """Candidates (n, d) to be measured on the same minibatch.

        Raises:
            RuntimeError: the last candidates' losses have not been told.
        """

    def tell(self, losses: Floats) -> None:
        """Losses (n,) of the candidates last asked for; NaN says that a candidate could not be measured.

        Raises:
            RuntimeError: nothing was asked for.
            ValueError: not one loss a candidate.
        """


class AskTell:
    """The manners that all optimizers share: ask and tell take turns, and losses have the right shape."""

    population: int

    def __init__(self) -> None:
        self._asked = False

    def _begin_ask(self) -> None:
        if self._asked:
            raise RuntimeError("ask() was called twice without tell() in between")
        self._asked = True

    def _begin_tell(self, losses: Floats) -> NDArray[np.float64]:
        if not self._asked:
            raise RuntimeError("tell() was called without ask()")
        if np.shape(losses) != (self.population,):
            raise ValueError(f"expected losses of shape ({self.population},), got {np.shape(losses)}")
        self._asked = False
        return np.asarray(losses, np.float64)

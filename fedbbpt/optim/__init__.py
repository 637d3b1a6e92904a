"""Zero-order optimizers: ask for candidates, tell their losses. They know nothing of prompts, backends or clients."""

from collections.abc import Sequence
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedbbpt.types import Floats

MOST_ASKED = 10_000  # candidates of one ask
Count = Annotated[int, Field(ge=1, le=MOST_ASKED)]


class Optimizer(Protocol):
    """Improves x from losses alone.

    An optimizer lives for one client's round. The class takes as its positional arguments the point to start from, a
    random generator, the number of steps taken in earlier rounds (the gain schedules go on from there) and what the
    optimizers of earlier rounds left (the mean of their `memory` over the clients; None at the start of a run), and
    its own options by keyword. With the class attribute `categorical = True` it samples choices for prompts that have
    them (see `Prompt`), and takes their number as a fifth positional argument.

    One unit of x is a sensible amount. The losses of one ask are centred and divided by a spread that all asks share,
    so that their standard deviation is about 1 in the first rounds; their level says nothing.
    """

    x: NDArray[np.float64]  # (d,) the best guess
    population: int  # n, how many candidates one `ask` returns
    memory: NDArray[np.float64]  # (m,) for the next round: finite, m depends on d and the options, its mean makes sense

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
    """The manners that all optimizers share: ask and tell take turns, losses and memory have the right shape."""

    population: int

    def __init__(self, memory: Floats | None, initial: Sequence[float] | Floats = ()) -> None:
        self._asked = False
        self.memory = np.array(initial if memory is None else memory, np.float64)
        if self.memory.shape != np.shape(initial):
            raise ValueError(f"expected a memory of shape {np.shape(initial)}, got {self.memory.shape}")

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

"""Zero-order optimizers: ask for candidates, tell their losses. They know nothing of prompts, backends or clients."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedbbpt.types import Floats

MOST_ASKED = 10_000  # candidates of one ask
FEW = 13  # dimensions up to which a perturbation may move each coordinate by 1
Count = Annotated[int, Field(ge=1, le=MOST_ASKED)]


@dataclass(frozen=True)
class Space:
    """Where θ lives: all of ℝᵈ, or choices."""

    choices: int | None = None  # θ is read as (positions, choices), one choice at each position; None: continuous


@dataclass(frozen=True)
class OptimizerStart:
    """Everything from which an optimizer starts. Its generator is used up: every optimizer needs a start of its own."""

    x: Floats  # (d,) the point to start from
    rng: np.random.Generator
    step: int = 0  # steps taken in earlier rounds; gain schedules continue from there
    state: Floats | None = None  # (m,) the `state` that earlier rounds left; None at the start of a run
    space: Space = Space()
    clients: int = 1  # that take part in a round, each with an optimizer of its own; the mean of their x counts


def positions_and_choices(start: OptimizerStart) -> tuple[int, int]:
    """How a categorical optimizer reads θ.

    Raises:
        ValueError: fewer than two choices, or a dimension that is not a multiple of their number.
    """
    d, choices = len(start.x), start.space.choices or 0
    if choices < 2 or d % choices:
        raise ValueError(f"expected at least two choices, and a dimension that is their multiple: {choices}, {d}")
    return d // choices, choices


def unit(dim: int) -> float:
    """How far a perturbation moves a coordinate by default: 1 in up to 13 dimensions, √(13 / d) in d > 13.

    Then a perturbation has the same length in all dimensions. If each of many coordinates moved by 1, the loss's
    curvature would hide its slope: for `low-rank` (d = 105), perturbations of ½ raised a loss of 1.06 to 1.52.

    >>> unit(52)
    0.5
    """
    return min(1.0, math.sqrt(FEW / dim))


class Optimizer(Protocol):
    """Improves x from losses alone.

    An optimizer lives for one client's round. Its class takes an `OptimizerStart` as its one positional argument and
    its options by keyword.

    Replay: the same `OptimizerStart`, its generator in the same state, and the same losses give the same bits in x and
    `state`. A server that knows the seed therefore rebuilds a client's steps from the client's losses alone. All
    of its random numbers therefore come from the start's generator.

    One unit of x is a sensible amount. The losses of one ask are centred and divided by a scale that all asks share, so
    that their standard deviation is about 1 in the first rounds; only differences between the losses of one ask count.
    """

    categorical: ClassVar[bool] = False  # whether it samples choices, and needs `Space.choices`

    x: NDArray[np.float64]  # (d,) the best guess
    population_size: int  # n, the number of candidates that one `ask` returns
    state: NDArray[np.float64]  # (m,) for the next round, averaged over clients; finite, m depends on d and the options

    @abstractmethod
    def ask(self) -> NDArray[np.float64]:
        """Candidates (n, d) to be measured on the same minibatch.

        Raises:
            RuntimeError: the losses of the last candidates have not been told.
        """

    @abstractmethod
    def tell(self, losses: Floats) -> None:
        """Learns from the losses (n,) of the last candidates; NaN marks a candidate that could not be measured.

        Raises:
            RuntimeError: nothing was asked for.
            ValueError: not one loss per candidate.
        """


class OptimizerBase(Optimizer):
    """What all optimizers share: ask and tell take turns, and losses and state have the right shape."""

    def __init__(self, start: OptimizerStart, initial_state: Sequence[float] | Floats = ()) -> None:
        """Copies the start.

        Raises:
            ValueError: the state has another shape than the initial one.
        """
        self.x = np.array(start.x, np.float64)
        self.state = np.array(initial_state if start.state is None else start.state, np.float64)
        if self.state.shape != np.shape(initial_state):
            raise ValueError(f"expected a state of shape {np.shape(initial_state)}, got {self.state.shape}")
        self._rng = start.rng
        self._asked = False

    def _begin_ask(self) -> None:
        if self._asked:
            raise RuntimeError("ask() was called twice without tell() in between")
        self._asked = True

    def _begin_tell(self, losses: Floats) -> NDArray[np.float64]:
        if not self._asked:
            raise RuntimeError("tell() was called without ask()")
        if np.shape(losses) != (self.population_size,):
            raise ValueError(f"expected losses of shape ({self.population_size},), got {np.shape(losses)}")
        self._asked = False
        return np.asarray(losses, np.float64)

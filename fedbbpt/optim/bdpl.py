"""Black-box discrete prompt learning: Diao et al. 2023 (TMLR, arXiv 2201.08531)."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat
from scipy.special import softmax

from fedbbpt.optim import MOST_ASKED, OptimizerBase, OptimizerStart, positions_and_choices
from fedbbpt.types import Floats

Array = NDArray[np.float64]
Score = Callable[[Array, Array], Array]  # samples (n, positions, choices), probabilities -> ∇ log p, of the same shape

SPAN = 10.0  # largest difference between two logits of a position, and longest step of one
RAREST = 0.1  # smallest probability on the simplex, as a share of that among equals
MOST = 1e100  # losses are clipped to it, so that no sum overflows


class Bdpl(OptimizerBase):
    """Samples choices, and learns from the losses how likely to draw each of them: for prompts that choose words.

    At each position of the prompt a choice is drawn from probabilities p of its own. A step follows the gradient of the
    expected loss by x, estimated from `population_size` samples (see `estimate`).

    The `parametrisation` "softmax" makes x logits; "simplex", as in the paper, makes x the probabilities themselves,
    projected after each step. There `lr` is divided by choices², so that both change equal probabilities alike. No
    choice becomes impossible, so that no score divides by 0: logits of a position differ by at most 10, and
    probabilities are at least a tenth of the uniform one.

    With 20 samples a step the default `lr` finds the one good word among 50 at each of 10 positions in about 50 steps;
    where all words differ, larger rates settle sooner and for worse.

    One position with three choices, of which the last has the lowest loss:

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart, Space
    >>> optimizer = Bdpl(OptimizerStart(np.zeros(3), np.random.default_rng(1), space=Space(choices=3)))
    >>> for _ in range(20):
    ...     optimizer.tell(optimizer.ask() @ np.array([1.0, 2.0, 0.0]))
    >>> int(optimizer.x.argmax())
    2
    """

    categorical = True

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        population_size: Annotated[int, Field(ge=2, le=MOST_ASKED)] = 20,
        lr: PositiveFloat = 2.0,
        parametrisation: Literal["softmax", "simplex"] = "softmax",
    ) -> None:
        super().__init__(start)
        self.population_size = population_size
        _, self._choices = positions_and_choices(start)
        self._space = PARAMETRISATIONS[parametrisation]
        self._lr = lr if parametrisation == "softmax" else lr / self._choices**2

    def ask(self) -> Array:
        """One choice per position, as rows of ones and zeros: (population_size, d)."""
        self._begin_ask()
        cumulative = self._space.probabilities(self._projected()).cumsum(1)
        drawn = self._rng.random((self.population_size, len(cumulative), 1)) * cumulative[:, -1:]
        self._samples = np.eye(self._choices)[(drawn >= cumulative).sum(2)]  # (n, positions, choices)
        candidates: Array = self._samples.reshape(self.population_size, -1).copy()
        return candidates

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`. With fewer than two losses, or all equal, x stays."""
        losses = self._begin_tell(losses)
        measured = np.isfinite(losses)
        clipped = np.clip(losses[measured], -MOST, MOST)
        clipped = clipped - clipped[:1]  # takes away their level exactly, which a mean would not
        if clipped.any():
            space, x = self._space, self._projected()
            gradient = estimate(self._samples[measured], clipped, space.probabilities(x), space.score)
            with np.errstate(over="ignore"):
                step = np.clip(self._lr * gradient, -space.longest, space.longest)
            self.x = space.project(x - step).ravel()

    def _projected(self) -> Array:
        return self._space.project(self.x.reshape(-1, self._choices))


def estimate(samples: Array, losses: Array, probabilities: Array, score: Score) -> Array:
    """Σ (L − L̄) ∇ log p / (n − 1) over samples (n, positions, choices) of losses (n,): (positions, choices).

    The covariance of loss and score: unbiased for the gradient of the expected loss, but for one number at all choices
    of a position where scores are not 0 on average. No projection onto the simplex sees that number.
    """
    centred = losses - losses.mean()
    gradient: Array = np.tensordot(centred, score(samples, probabilities), 1) / (len(losses) - 1)
    return gradient


def score_softmax(samples: Array, probabilities: Array) -> Array:
    """∇ log p by x where p = softmax(x): 1 − p for what was drawn, −p for the rest."""
    score: Array = samples - probabilities
    return score


def score_simplex(samples: Array, probabilities: Array) -> Array:
    """∇ log p by p itself: 1 / p for what was drawn, 0 for the rest.

    The authors' code has −1 / p for the rest: twice this less 1 / p, and what does not depend on the draw no covariance
    sees. Their steps are twice as long, that is all, until a probability is 0 and makes NaN of them.
    """
    score: Array = samples / probabilities
    return score


def clamp_logits(x: Array) -> Array:
    """Logits (positions, choices), none more than SPAN below the largest of its position."""
    logits: Array = np.maximum(x, x.max(1, keepdims=True) - SPAN)
    return logits


def project_to_simplex(x: Array) -> Array:
    """The nearest probabilities (positions, choices), none below RAREST / choices (Duchi et al. 2008, ICML, fig. 1)."""
    choices = x.shape[1]
    ordered = -np.sort(-x, axis=1)
    shifts = (ordered.cumsum(1) - (1 - RAREST)) / np.arange(1, choices + 1)
    above = (ordered > shifts).sum(1, keepdims=True)  # how many end up above the least
    nearest: Array = np.maximum(x - np.take_along_axis(shifts, above - 1, 1), 0) + RAREST / choices
    return nearest


class Parametrisation(NamedTuple):
    """How x (positions, choices) gives the probabilities."""

    project: Callable[[Array], Array]  # any x -> the nearest valid one
    probabilities: Callable[[Array], Array]  # of a valid x
    score: Score
    longest: float  # step of a number: from one end of its range to the other


PARAMETRISATIONS = {
    "softmax": Parametrisation(clamp_logits, lambda x: softmax(x, 1), score_softmax, SPAN),
    "simplex": Parametrisation(project_to_simplex, lambda x: x, score_simplex, 1.0),
}

"""A bandit over choices: Thompson sampling with Gaussian priors (Agrawal & Goyal 2013, AISTATS, arXiv 1209.3353)."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedbbpt.optim import MOST_ASKED, OptimizerBase, OptimizerStart, positions_and_choices
from fedbbpt.types import Floats

MOST = 2.0  # standard deviations from what was expected that a loss counts for (Huber 1964)


class Bandit(OptimizerBase):
    """Tries choices, the promising ones more often: for prompts of a few words, and answers that say right or wrong.

    Of each choice at each place it is known how often it was tried, N, and the sum of its losses, S. A loss is taken to
    be normal around the choice's mean with variance 1, and the mean to be normal around 0 with variance 1 before
    anything is known: then it is N(S / (N + 1), 1 / (N + 1)). Each candidate draws a mean for every choice from there
    and takes the lowest of each place. x is −S / (N + 1), 0 for what was never tried: its largest number is the best
    choice known. A place takes what the others do for noise.

    An upper confidence bound (UCB1: Auer, Cesa-Bianchi & Fischer 2002) would try the same choice with all candidates of
    an ask, at all clients; what is drawn differs by itself (Chapelle & Li 2011, NIPS).

    The losses of an ask have no level of their own: it is put where they agree best with the means known so far, since
    centred ones would say ever less of a good choice the more often it is tried. Their median says where that is, and
    none counts as further than 2 from what was expected: one answer that went wrong must not decide. [own design]

    Averaged over clients, N and S are those of a client. The prior then weighs more, so that the search stays broad for
    longer; with the true N it found the best choice no sooner. [measured]
    """

    categorical = True

    def __init__(
        self,
        start: OptimizerStart,
        /,
        *,
        population_size: Annotated[int, Field(ge=2, le=MOST_ASKED)] = 8,
    ) -> None:
        super().__init__(start, np.zeros(2 * len(start.x)))  # N of all places and choices, then S
        self.population_size = population_size
        self._shape = positions_and_choices(start)

    def ask(self) -> NDArray[np.float64]:
        """A choice for each place, as rows of ones and zeros: (population_size, d)."""
        self._begin_ask()
        means, counts = self._known()
        noise = self._rng.standard_normal((self.population_size, *self._shape))
        drawn = means + noise / np.sqrt(counts + 1)  # (n, places, choices)
        self._tried = np.eye(self._shape[1])[drawn.argmin(2)]
        candidates: NDArray[np.float64] = self._tried.reshape(self.population_size, -1).copy()
        return candidates

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`. A single loss has nothing to be compared with."""
        losses = self._begin_tell(losses)
        measured = np.isfinite(losses)
        if measured.sum() < 2:
            return
        tried, told = self._tried[measured], losses[measured] - losses[measured].min()  # exact, whatever their level
        expected = (tried * self._known()[0]).sum(2)  # (n, places)
        surprise = told[:, None] - expected
        surprise = np.clip(surprise - np.median(surprise, 0), -MOST, MOST)
        sums = (tried * (expected + surprise)[:, :, None]).sum(0)  # (places, choices)
        self.state = self.state + np.concatenate([tried.sum(0).ravel(), sums.ravel()])
        self.x = -self._known()[0].ravel()

    def _known(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expected losses, and how often each choice was tried: (places, choices) both."""
        counts, sums = self.state.reshape(2, *self._shape)
        return sums / (counts + 1), counts

"""A bandit over choices: Thompson sampling with Gaussian priors (Agrawal & Goyal 2013, AISTATS, arXiv 1209.3353)."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedbbpt.optim import MOST_ASKED, OptimizerBase, OptimizerStart, positions_and_choices
from fedbbpt.types import Floats

MOST = 2.0  # standard deviations from its expectation at which a loss is clipped (Huber 1964)


class Bandit(OptimizerBase):
    """Tries choices, the promising ones more often: for prompts of a few words, and answers that say right or wrong.

    For each choice at each position it counts trials, N, and sums losses, S. A loss is modelled as normal around the
    choice's mean with variance 1, with the prior N(0, 1) on the mean: its posterior is N(S / (N + 1), 1 / (N + 1)).
    Each of the `population_size` candidates draws a mean for every choice from it, and takes the lowest at each
    position. x is −S / (N + 1), 0 for untried choices: its largest number is the best known choice. To a position, the
    others are noise.

    An upper confidence bound (UCB1: Auer, Cesa-Bianchi & Fischer 2002) would try the same choice with all candidates of
    an ask, at all clients; random draws differ by themselves (Chapelle & Li 2011, NIPS).

    The losses of an ask have no level of their own: it is put where they agree best with the means known so far, since
    centred ones would say ever less of a good choice the more often it is tried. Their median says where that is, and
    none counts as further than 2 from what was expected: one answer that went wrong must not decide. [own design]

    Averaged over clients, N and S are those of a client. The prior then weighs more, so that the search stays broad for
    longer; with the true N it found the best choice no sooner. [measured]

    One position with three choices, of which the last has the lowest loss:

    >>> import numpy as np
    >>> from fedbbpt.optim import OptimizerStart, Space
    >>> optimizer = Bandit(OptimizerStart(np.zeros(3), np.random.default_rng(1), space=Space(choices=3)))
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
        population_size: Annotated[int, Field(ge=2, le=MOST_ASKED)] = 8,
    ) -> None:
        super().__init__(start, np.zeros(2 * len(start.x)))  # N of all positions and choices, then S
        self.population_size = population_size
        self._shape = positions_and_choices(start)

    def ask(self) -> NDArray[np.float64]:
        """One choice per position, as rows of ones and zeros: (population_size, d)."""
        self._begin_ask()
        means, counts = self._known()
        noise = self._rng.standard_normal((self.population_size, *self._shape))
        drawn = means + noise / np.sqrt(counts + 1)  # (n, positions, choices)
        self._tried = np.eye(self._shape[1])[drawn.argmin(2)]
        candidates: NDArray[np.float64] = self._tried.reshape(self.population_size, -1).copy()
        return candidates

    def tell(self, losses: Floats) -> None:
        """See `Optimizer`. A single loss has nothing to be compared with."""
        losses = self._begin_tell(losses)
        measured = np.isfinite(losses)
        if measured.sum() < 2:
            return
        tried = self._tried[measured]
        relative = losses[measured] - losses[measured].min()  # exact, whatever their level
        expected = (tried * self._known()[0]).sum(2)  # (n, positions)
        surprise = relative[:, None] - expected
        surprise = np.clip(surprise - np.median(surprise, 0), -MOST, MOST)
        sums = (tried * (expected + surprise)[:, :, None]).sum(0)  # (positions, choices)
        self.state = self.state + np.concatenate([tried.sum(0).ravel(), sums.ravel()])
        self.x = -self._known()[0].ravel()

    def _known(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expected losses, and how often each choice was tried: (positions, choices) both."""
        counts, sums = self.state.reshape(2, *self._shape)
        return sums / (counts + 1), counts

"""Whether the losses of the rounds say that steps are too long: then θ goes back to the best, and the scale halves."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedbbpt.types import Float32, Floats, Update

WORSE, MARGIN = 1.5, 0.2  # a loss above lowest × WORSE + MARGIN (nats) means divergence
CERTAIN, FEWEST = 3.0, 3  # a rise counts from so many standard deviations on, known from so many differences


class LossTrend(NamedTuple):
    """What is known of the mean losses of the rounds' candidates, in nats.

    A single loss says little: it depends on the directions, the minibatches and the clients of its round. So the mean
    of two rounds in a row is compared with the lowest such mean. How much losses vary by chance is taken from the
    differences between rounds (von Neumann 1941, Annals of Mathematical Statistics 12(4)).
    """

    lowest: float = math.inf  # mean of two rounds
    last: float = math.inf  # loss of the last round; infinite at the start, and where θ went back
    squares: float = 0.0  # sum of the squared differences between two rounds
    differences: float = 0.0  # their number

    @classmethod
    def from_array(cls, values: Floats) -> "LossTrend":
        """Inverse of `to_array`."""
        return cls(*values.tolist())

    def to_array(self) -> Float32:
        """The four numbers as an array (4,)."""
        return np.array(self, np.float32)

    @property
    def std(self) -> float | None:
        """The standard deviation of a round's loss by chance, nats; None as long as too few differences are known."""
        return math.sqrt(self.squares / self.differences / 2) if self.differences >= FEWEST else None

    def is_setback(self, loss: float) -> bool:
        """Whether a round's mean loss (nats, NaN if nothing was measured) is far above the lowest, or has risen.

        >>> LossTrend(lowest=0.50, last=0.55, squares=0.001, differences=10).is_setback(0.6)
        True
        >>> LossTrend(lowest=0.50, last=0.55, squares=0.1, differences=10).is_setback(0.6)
        False
        """
        if not math.isfinite(self.lowest):
            return False
        chance = CERTAIN * (self.std or 0.0)
        if not loss <= WORSE * self.lowest + MARGIN + chance:
            return True
        in_a_row = math.isfinite(self.last) and self.std is not None
        return in_a_row and self.mean_of_two(loss) > self.lowest + chance

    def mean_of_two(self, loss: float) -> float:
        """The mean of a loss and the last one; of the first in a row, itself."""
        return (loss + self.last) / 2 if math.isfinite(self.last) else loss

    def after(self, loss: float) -> "LossTrend":
        """The trend with one more loss, which is no setback."""
        if not math.isfinite(loss):
            return self
        lowest = min(self.lowest, self.mean_of_two(loss))
        if not math.isfinite(self.last):
            return self._replace(lowest=lowest, last=loss)
        return LossTrend(lowest, loss, self.squares + (loss - self.last) ** 2, self.differences + 1)

    def after_setback(self) -> "LossTrend":
        """The trend once θ went back: it is measured again, since the lowest of many means is partly luck."""
        return self._replace(lowest=math.inf, last=math.inf)


def pooled_loss(updates: Sequence[Update]) -> float:
    """The mean loss (nats) over the examples of all clients that measured one; NaN if none did."""
    known = [update for update in updates if math.isfinite(update.loss) and update.weight]
    return float(np.average([u.loss for u in known], weights=[u.weight for u in known])) if known else math.nan

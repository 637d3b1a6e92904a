"""How sure an accuracy is, and the difference between two on the same examples."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from scipy import special

Z = 1.96  # of 95 % intervals


def wilson_interval(share: float, count: int, z: float = Z) -> tuple[float, float]:
    """The Wilson score interval of a share of `count` independent examples, at 95 % by default.

    >>> low, high = wilson_interval(0.5, 100)
    >>> f"{low:.3f} to {high:.3f}"
    '0.404 to 0.596'
    """
    centre, scale = share + z * z / (2 * count), 1 + z * z / count
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


class Difference(NamedTuple):
    """The difference of two accuracies on the same examples, as shares."""

    gain: float
    low: float  # of the 95 % interval
    high: float
    p: float  # McNemar's exact test: how likely so uneven counts are where neither is better
    examples: int

    @property
    def is_clear(self) -> bool:
        """Whether the test finds a difference at the level of 5 %."""
        return self.p < 0.05


def paired_difference(paired: Mapping[str, int] | None) -> Difference | None:
    """The difference from the counts of `run.evaluate.Paired`; None where nothing is paired.

    The interval is that of Agresti and Min (2005): Wald's, with half an example added to each of the four counts. The
    test is exact (McNemar): of the examples that differ, each side has half by chance.

    >>> d = paired_difference({"examples": 100, "won": 9, "lost": 1})
    >>> f"{d.gain:.2f}, {d.low:.3f} to {d.high:.3f}, p = {d.p:.3f}"
    '0.08, 0.017 to 0.140, p = 0.021'
    """
    if not paired or not paired["examples"]:
        return None
    won, lost, count = paired["won"], paired["lost"], paired["examples"]
    centre = (won - lost) / (count + 2)
    half = Z * math.sqrt((won + lost + 1) / (count + 2) - centre * centre) / math.sqrt(count + 2)
    p = min(1.0, 2 * float(special.bdtr(min(won, lost), won + lost, 0.5)))  # as scipy.stats.binomtest, which is heavy
    return Difference((won - lost) / count, max(-1.0, centre - half), min(1.0, centre + half), p, count)

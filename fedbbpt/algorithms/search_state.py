"""Where a trust-region search stands between two rounds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms.trust_region import STEPS, lengths
from fedbbpt.types import Float32, Floats, Int64

LEAST_RADIUS, MOST_RADIUS = 0.1, 2.0
Array = NDArray[np.float64]


class Search(NamedTuple):
    """The points, the radius and the best point so far."""

    points: Array  # (n, r) asked about
    radius: float
    best: int  # index of the point of least loss

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> "Search":
        """Inverse of `to_arrays`."""
        return cls(arrays["points"].astype(np.float64), float(arrays["radius"][0]), int(arrays["best"][0]))

    def to_arrays(self) -> dict[str, Float32]:
        """The search as arrays of float32."""
        values = {"points": self.points, "radius": [self.radius], "best": [self.best]}
        return {name: np.asarray(value, np.float32) for name, value in values.items()}

    def after(self, kept: Int64, asked: Floats, losses: Array, *, adapt: bool) -> "Search":
        """The search with the kept points and those just asked about, from the losses of the best and of these.

        The radius doubles where the longest step was the best one, and halves where the shortest was, or nothing is
        better (see `trust_region.lengths`).
        """
        winner = int(np.nanargmin(losses)) if np.isfinite(losses).any() else 0
        best = len(kept) + winner - 1 if winner else int(np.flatnonzero(kept == self.best)[0])
        steps, factor = lengths(len(asked)), 1.0
        if adapt and winner == 0:
            factor = 0.5
        elif adapt and winner <= len(steps):
            factor = {max(steps): 2.0, min(STEPS): 0.5}.get(steps[winner - 1], 1.0)
        radius = min(max(factor * self.radius, LEAST_RADIUS), MOST_RADIUS)
        return Search(np.concatenate([self.points[kept], asked]), radius, best)

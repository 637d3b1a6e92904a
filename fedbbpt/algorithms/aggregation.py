"""Averages the clients' updates."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Parameters, Update


def weighted_mean(changes: Sequence[Parameters], weights: Sequence[float]) -> dict[str, NDArray[np.float64]]:
    """Computes Σ w_i c_i / Σ w_i for every part, in float64 and in the given order.

    Source: McMahan et al. 2017, algorithm 1.

    >>> changes = [{"prompt": np.float32([1, 2])}, {"prompt": np.float32([3, 4])}]
    >>> weighted_mean(changes, [1, 3])["prompt"]
    array([2.5, 3.5])
    """
    total = float(sum(weights))
    mean = {part: np.zeros(len(first), np.float64) for part, first in changes[0].items()}
    for change, weight in zip(changes, weights, strict=True):
        for part, vector in change.items():
            mean[part] += weight / total * vector.astype(np.float64)
    return mean


def mean_losses(updates: Sequence[Update]) -> NDArray[np.float64]:
    """The mean losses (m,) over all clients' examples, from the clients' means in "losses".

    A candidate is NaN where a client has no loss for it; clients without any are left out.
    """
    measured = [update for update in updates if np.isfinite(update.payload["losses"]).any()]
    if not measured:
        return np.full(len(updates[0].payload["losses"]), np.nan)
    return weighted_mean([update.payload for update in measured], [update.weight for update in measured])["losses"]

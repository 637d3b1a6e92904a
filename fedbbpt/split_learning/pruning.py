"""Which of a client's samples a round is about."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Batch, Dataset, Float32, Int64


def prune(
    data: Dataset,
    share: float,
    limit: int,
    errors: Callable[[Batch], NDArray[np.float64]],
    rng: np.random.Generator,
) -> Int64:
    """Rows of that share of the samples with the largest errors, which are found for `limit` samples at a time."""
    if (count := num_kept(share, len(data))) == len(data):
        return np.arange(count)
    found = [errors(data.batch(slice(start, start + limit))) for start in range(0, len(data), limit)]
    return hardest(np.concatenate(found), count, rng)


def hardest(errors: NDArray[np.float64], count: int, rng: np.random.Generator) -> Int64:
    """The rows of the `count` largest errors (N,), in their order; of equal ones any."""
    order = rng.permutation(len(errors))
    return np.sort(order[np.argsort(-errors[order], kind="stable")[:count]])


def num_kept(share: float, samples: int) -> int:
    """How many samples a share is: ⌈share · samples⌉, where 0.1 · 30 is 3; of any at all one, however small it is."""
    return max(min(1, samples), math.ceil(round(share * samples, 6)))


def el2n(probabilities: Float32, labels: Int64) -> NDArray[np.float64]:
    """‖p − one-hot‖₂ of probabilities (b, K): (b,), the EL2N score (Paul et al. 2021, definition 2.1)."""
    errors = probabilities.astype(np.float64)
    errors[np.arange(len(labels)), labels] -= 1
    norms: NDArray[np.float64] = np.sqrt((errors**2).sum(1))
    return norms

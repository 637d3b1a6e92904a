"""Data pruning by EL2N: which of its samples a client trains on through the body."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Batch, Dataset, Float32, Int64


def prune(
    data: Dataset,
    fraction: float,
    batch_size: int,
    scores: Callable[[Batch], NDArray[np.float64]],
    rng: np.random.Generator,
) -> Int64:
    """The rows of that fraction of the samples with the largest scores, ascending.

    `scores(batch)` gives those of a batch (b,); it is not called if all samples are kept.
    """
    if (count := num_kept(fraction, len(data))) == len(data):
        return np.arange(count)
    found = [scores(data.batch(slice(start, start + batch_size))) for start in range(0, len(data), batch_size)]
    return hardest(np.concatenate(found), count, rng)


def hardest(scores: NDArray[np.float64], count: int, rng: np.random.Generator) -> Int64:
    """The rows of the `count` largest scores (N,), ascending; ties are broken at random.

    >>> hardest(np.array([0.1, 0.9, 0.5]), 2, np.random.default_rng(0)).tolist()
    [1, 2]
    """
    order = rng.permutation(len(scores))
    return np.sort(order[np.argsort(-scores[order], kind="stable")[:count]])


def num_kept(fraction: float, samples: int) -> int:
    """⌈fraction · samples⌉, without the computer's rounding errors; at least one of any samples.

    >>> num_kept(0.1, 30), num_kept(0.1, 31), num_kept(1e-9, 30), num_kept(0.5, 0)
    (3, 4, 1, 0)
    """
    return max(min(1, samples), math.ceil(round(fraction * samples, 6)))


def el2n(probabilities: Float32, labels: Int64) -> NDArray[np.float64]:
    """The EL2N score ‖p − one-hot‖₂ (b,) of probabilities (b, K) (Paul et al. 2021, arXiv 2107.07075, definition 2.1).

    >>> el2n(np.array([[1, 0], [0, 1]], np.float32), np.array([0, 0])).round(3).tolist()
    [0.0, 1.414]
    """
    errors = probabilities.astype(np.float64)
    errors[np.arange(len(labels)), labels] -= 1
    norms: NDArray[np.float64] = np.sqrt((errors**2).sum(1))
    return norms

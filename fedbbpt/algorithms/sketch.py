"""How far vectors are apart, from a few numbers of each."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Float32, Floats

WIDTH = 32


def sketch(vector: Floats, seed: int) -> Float32:
    """Adds up the numbers (d,), each with a random sign, in 32 random groups; returns the sums (32,).

    The expected square of a difference between two sketches of one seed is that between the vectors, and its standard
    deviation at most a quarter of that (Charikar, Chen & Farach-Colton 2002, ICALP, "Finding frequent items in data
    streams").
    """
    groups, signs = _drawn(seed, len(vector))
    return np.bincount(groups, signs * vector.astype(np.float64), WIDTH).astype(np.float32)


@lru_cache(maxsize=1)  # all nodes of a process draw the same, which takes longer than to add up
def _drawn(seed: int, size: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """The group and the sign of each number."""
    rng = np.random.default_rng([seed, size])
    return rng.integers(WIDTH, size=size).astype(np.int8), rng.choice([-1.0, 1.0], size).astype(np.int8)


def distance_to_mean(sketches: Sequence[Float32]) -> float:
    """The root mean square distance of vectors to their mean, estimated from their sketches."""
    every = np.stack(sketches).astype(np.float64)
    return math.sqrt(((every - every.mean(0)) ** 2).sum(1).mean())

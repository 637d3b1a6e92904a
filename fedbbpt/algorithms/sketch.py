"""How far vectors are apart, from a few numbers of each."""

import math
from collections.abc import Sequence

import numpy as np

from fedbbpt.types import Float32, Floats

WIDTH = 32


def sketch(vector: Floats, seed: int) -> Float32:
    """Adds up the numbers (d,), each with a random sign, in 32 random groups; returns the sums (32,).

    The expected square of a difference between two sketches of one seed is that between the vectors, and its standard
    deviation at most a quarter of that (Charikar, Chen & Farach-Colton 2002, ICALP, "Finding frequent items in data
    streams").
    """
    rng = np.random.default_rng([seed, len(vector)])
    groups, signs = rng.integers(WIDTH, size=len(vector)), rng.choice([-1.0, 1.0], len(vector))
    return np.bincount(groups, signs * vector, WIDTH).astype(np.float32)


def distance_to_mean(sketches: Sequence[Float32]) -> float:
    """The root mean square distance of vectors to their mean, estimated from their sketches."""
    every = np.stack(sketches).astype(np.float64)
    return math.sqrt(((every - every.mean(0)) ** 2).sum(1).mean())

"""Differences on a shared design: all clients ask about the same points, so one matrix turns answers into slopes.

Points are coordinates along random orthogonal directions of θ's space. There may be fewer directions than dimensions:
then the search is confined to their span, which grows with the points asked about.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Floats, Int64

Array = NDArray[np.float64]
RIDGE = 0.02  # penalty of slopes, in squared radii


@lru_cache(maxsize=8)
def directions(seed: int, count: int, dimension: int) -> Array:
    """Orthogonal directions (count, d), whose coordinates have root mean square 1; the first ones stay as more come."""
    drawn = np.random.default_rng([seed, dimension]).standard_normal((count, dimension))
    basis, triangle = np.linalg.qr(drawn.T)
    rows: Array = (basis * np.sign(np.diag(triangle))).T * np.sqrt(dimension)
    return rows


def nearness(points: Floats, centre: Floats, radius: float) -> Array:
    """Weights (n,) of points (n, r) in a regression around the centre; 0 for the centre itself.

    A linear model errs with the square of the distance, so that its relative error grows with the distance.
    """
    distance = np.linalg.norm(points - centre, axis=1)
    weights: Array = np.exp(-((distance / (2 * radius)) ** 2)) / np.maximum(distance / radius, 0.1) ** 2
    weights[distance == 0] = 0
    return weights


def gram(points: Floats, centre: Floats, radius: float) -> Array:
    """The weighted sum of products of differences to the centre: (r, r)."""
    steps = points - centre
    products: Array = (steps * nearness(points, centre, radius)[:, None]).T @ steps
    return products


def slopes(points: Floats, centre: Floats, radius: float) -> Array:
    """The matrix (r, n) that turns differences of answers at n points to those at the centre into slopes.

    Weighted least squares with a penalty of `RIDGE` · radius² on the slopes.
    """
    steps, r = points - centre, points.shape[1]
    weighted = (steps * nearness(points, centre, radius)[:, None]).T  # (r, n)
    matrix = np.linalg.solve(weighted @ steps + RIDGE * radius**2 * np.eye(r), weighted)
    return np.asarray(matrix, np.float64)


def quadratic_sums(log_p: Array, labels: Int64, points: Floats, best: int, radius: float) -> Array:
    """Sums over examples for the loss's quadratic model around the best of n points (n, r): (1 + r + r (r + 1) / 2,).

    From log-probabilities (n, N, K): the number of examples that are answered at the best point, the gradient, and the
    upper half of the Gauss–Newton matrix Σ Zᵀ (diag p − p pᵀ) Z, with Z the slopes of an example's log-probabilities.
    """
    answered = ~np.isnan(log_p[best]).any(1)
    log_p, labels = log_p[:, answered], labels[answered]
    differences = np.nan_to_num(log_p - log_p[best])  # a failed query tells of no difference
    z = np.tensordot(slopes(points, points[best], radius), differences, 1)  # (r, N, K)
    p = np.exp(log_p[best])
    gradient = np.tensordot(z, p - np.eye(p.shape[1])[labels], 2)
    centred = ((z - (z * p).sum(-1, keepdims=True)) * np.sqrt(p)).reshape(len(z), -1)
    return np.concatenate([[len(labels)], gradient, (centred @ centred.T)[np.triu_indices(len(z))]])


def nearest(points: Array, best: int, count: int) -> Int64:
    """The indices of the points nearest to the best one, in order."""
    distance = np.linalg.norm(points - points[best], axis=1)
    kept: Int64 = np.sort(np.argsort(distance, kind="stable")[:count])
    return kept

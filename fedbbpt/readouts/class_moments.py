"""The first two moments of each class's features, and virtual examples that have them.

Sums over clients are all that is sent, once per fit. The virtual examples of a class are drawn from a normal
distribution with its mean and covariance (Luo et al. 2021, NeurIPS, "No fear of heterogeneity", section 4), and changed
so that they have both exactly.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Floats, Int64

BY_CLASS, SHARED = 4_000, 20_000  # most numbers for a covariance of each class, and for one that all classes share
FEWEST = 50  # pairs of virtual examples of a class
TINY = 1e-7  # smallest variance along a direction, relative to the largest
Array = NDArray[np.float64]


class VirtualExamples(NamedTuple):
    """Examples in place of the clients', with weights that add up to 1."""

    features: Array  # (M, p)
    weights: Array  # (M, K): an example's weight under its class, else 0


def class_moments(features: Array, labels: Int64, classes: int) -> Array:
    """Sums over examples (N, p): their number and sum by class (K + K·p,), and products of pairs of features.

    The products are those of each class (K · p (p + 1) / 2) where these are at most `BY_CLASS` numbers, else of all
    classes together (p (p + 1) / 2), or, beyond `SHARED` numbers, squares (p,).
    """
    of_class = np.eye(classes)[labels]  # (N, K)
    p = features.shape[1]
    i, j = np.triu_indices(p)
    if classes * len(i) <= BY_CLASS:
        products = of_class.T @ (features[:, i] * features[:, j])
    elif len(i) <= SHARED:
        products = (features.T @ features)[i, j]
    else:
        products = (features**2).sum(0)
    return np.concatenate([of_class.sum(0), (of_class.T @ features).ravel(), products.ravel()])


def virtual_examples(moments: Array, classes: int, dimension: int) -> VirtualExamples:
    """Examples of K classes with features (p,) that have these `class_moments`; needs at least one real example."""
    counts, sums, products = np.split(moments, [classes, classes + classes * dimension])
    present = np.flatnonzero(counts > 0)
    means = sums.reshape(classes, dimension)[present] / counts[present, None]
    i, j = np.triu_indices(dimension)
    if len(products) == classes * len(i):
        scatters, examples = products.reshape(classes, -1)[present], counts[present, None]
    else:
        scatters, examples = products[None], counts.sum().reshape(1, 1)
    roots = _roots(scatters / examples, means, counts[present] / counts.sum(), (i, j))
    features, weights = [], []
    for one, (k, mean) in enumerate(zip(present, means, strict=True)):
        root = roots[one if len(roots) > 1 else 0]  # (p, r)
        pairs = max(FEWEST, root.shape[1])
        drawn = _normal_pairs(pairs, root.shape[1]) @ root.T
        features.append(mean + drawn)
        weights.append(np.tile(np.eye(classes)[k] * counts[k] / counts.sum() / (2 * pairs), (2 * pairs, 1)))
    return VirtualExamples(np.concatenate(features), np.concatenate(weights))


def _roots(second: Array, means: Array, shares: Floats, upper: tuple[Int64, Int64]) -> list[Array]:
    """Roots R (p, r) of covariances R Rᵀ: one for each class, or one that all share."""
    p = means.shape[1]
    own = np.einsum("ki,kj->kij", means, means)  # (K, p, p)
    around = own if len(second) == len(own) > 1 else np.einsum("k,kij->ij", shares, own)[None]
    roots = []
    for products, mean in zip(second, around, strict=True):
        matrix = np.zeros((p, p))
        if len(products) == p:
            matrix[np.arange(p), np.arange(p)] = products - np.diag(mean)
        else:
            matrix[upper] = products - mean[upper]
            matrix = np.triu(matrix) + np.triu(matrix, 1).T
        values, vectors = np.linalg.eigh(matrix)
        kept = values > TINY * values.max(initial=TINY)
        roots.append(vectors[:, kept] * np.sqrt(values[kept]))
    return roots


@lru_cache(maxsize=64)
def _normal_pairs(pairs: int, r: int) -> Array:
    """Normal numbers and their negatives (2·pairs, r), the same in every call, with identity covariance exactly."""
    drawn = np.random.default_rng(0).standard_normal((pairs, r))
    drawn = np.linalg.qr(drawn)[0] * np.sqrt(pairs)
    return np.concatenate([drawn, -drawn])

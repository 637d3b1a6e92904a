"""The first two moments of each class's features, and virtual examples that have them.

Sums over clients are all that is sent, once per fit. The virtual examples of a class are drawn from a normal
distribution with its mean and covariance (Luo et al. 2021, NeurIPS, "No fear of heterogeneity", section 4), and changed
so that they have both exactly.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.types import Int64

BY_CLASS, SHARED = 4_000, 20_000  # most numbers for a covariance of each class, and for one that all classes share
FEWEST = 50  # pairs of virtual examples of a class, where that is not too many
MOST = 1_000_000  # numbers of all virtual examples
TINY = 1e-7  # smallest variance along a direction, relative to the largest
Array = NDArray[np.float64]


class VirtualExamples(NamedTuple):
    """Examples in place of the clients', with weights that add up to 1."""

    features: Array  # (M, p)
    weights: Array  # (M, K): an example's weight under its class, else 0


def class_moments(features: Array, labels: Int64, classes: int, *, by_class: bool = True) -> Array:
    """Sums over examples (N, p): their number and sum by class (K + K·p,), and products of pairs of features.

    The products are those of each class (K · p (p + 1) / 2) where these are at most `BY_CLASS` numbers, else, or where
    `by_class` is not wanted, of all classes together (p (p + 1) / 2), or, beyond `SHARED` numbers, squares (p,).
    """
    of_class = np.eye(classes)[labels]  # (N, K)
    p = features.shape[1]
    pairs = p * (p + 1) // 2
    if by_class and classes * pairs <= BY_CLASS:
        i, j = np.triu_indices(p)
        products = of_class.T @ (features[:, i] * features[:, j])
    elif pairs <= SHARED:
        products = _upper(features.T @ features)
    else:
        products = (features**2).sum(0)
    return np.concatenate([of_class.sum(0), (of_class.T @ features).ravel(), products.ravel()])


def virtual_examples(moments: Array, classes: int, dimension: int) -> VirtualExamples:
    """Examples of K classes with features (p,) that have these `class_moments`; needs at least one real example.

    They are at most about `MOST` numbers: where there are very many classes and features, only the directions of the
    largest variances are kept.
    """
    counts, sums, products = np.split(moments, [classes, classes + classes * dimension])
    present = np.flatnonzero(counts > 0)
    means, shares = sums.reshape(classes, dimension)[present] / counts[present, None], counts[present] / counts.sum()
    most_pairs = max(1, MOST // max(1, 2 * len(present) * dimension))
    if len(products) == classes * (dimension * (dimension + 1) // 2):
        second = products.reshape(classes, -1)[present] / counts[present, None]
        outer = [_upper(np.outer(mean, mean)) for mean in means]
        roots = [_root(own, dimension, most_pairs) for own in second - np.reshape(outer, second.shape)]
    else:
        own = products / counts.sum()
        squares = shares @ means**2 if len(own) == dimension else _upper((means.T * shares) @ means)
        roots = [_root(own - squares, dimension, most_pairs)] * len(present)
    features, weights = [], []
    for k, mean, share, root in zip(present, means, shares, roots, strict=True):
        pairs = min(max(FEWEST, root.shape[1]), most_pairs)
        features.append(mean + _normal_pairs(pairs, root.shape[1]) @ root.T)
        weights.append(np.tile(np.eye(classes)[k] * share / (2 * pairs), (2 * pairs, 1)))
    return VirtualExamples(np.concatenate(features), np.concatenate(weights))


def _upper(matrix: Array) -> Array:
    """The upper half of a symmetric matrix (p, p), as `class_moments` orders it."""
    return np.asarray(matrix[np.triu_indices(len(matrix))])


def _root(covariance: Array, dimension: int, most: int) -> Array:
    """A root R (p, r) of a covariance R Rᵀ, given as its upper half or as variances (p,); at most r = `most`."""
    if len(covariance) == dimension:
        values, vectors = covariance, None
    else:
        matrix = np.zeros((dimension, dimension))
        matrix[np.triu_indices(dimension)] = covariance
        values, vectors = np.linalg.eigh(matrix + np.triu(matrix, 1).T)
    order = np.argsort(values, kind="stable")
    kept = order[values[order] > TINY * values.max(initial=TINY)][-most:]
    columns = np.eye(dimension)[:, kept] if vectors is None else vectors[:, kept]
    return np.asarray(columns * np.sqrt(values[kept]))


@lru_cache(maxsize=64)
def _normal_pairs(pairs: int, r: int) -> Array:
    """Normal numbers and their negatives (2·pairs, r), the same in every call, with identity covariance exactly."""
    drawn = np.random.default_rng(0).standard_normal((pairs, r))
    drawn = np.linalg.qr(drawn)[0] * np.sqrt(pairs)
    return np.concatenate([drawn, -drawn])

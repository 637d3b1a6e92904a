"""Matrices that resize one axis of an image; `rows @ images @ columns.T` resizes both."""

import numpy as np

from fedbbpt.types import Float32


def average(source: int, target: int) -> Float32:
    """The (target, source) matrix that averages over equal shares of the pixels, for shrinking.

    >>> average(3, 2) * 3
    array([[2., 1., 0.],
           [0., 1., 2.]], dtype=float32)
    """
    edges = np.arange(target + 1) * source / target
    pixel = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    shares: Float32 = (overlap.clip(0) * target / source).astype(np.float32)
    return shares


def bilinear(source: int, target: int) -> Float32:
    """The (target, source) matrix of linear interpolation between pixel centres, for enlarging.

    >>> bilinear(2, 4)
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]], dtype=float32)
    """
    place = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    nearness: Float32 = (1 - np.abs(place[:, None] - np.arange(source))).astype(np.float32)
    return nearness.clip(0)

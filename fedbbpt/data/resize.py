"""Resizing one side of an image, as a small matrix: `rows @ images @ columns.T`."""

import numpy as np

from fedbbpt.types import Float32


def average(source: int, target: int) -> Float32:
    """The (target, source) matrix that averages over equal shares of the pixels: for shrinking."""
    edges = np.arange(target + 1) * source / target
    pixel = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    shares: Float32 = (overlap.clip(0) * target / source).astype(np.float32)
    return shares


def bilinear(source: int, target: int) -> Float32:
    """The (target, source) matrix of linear interpolation between pixel centres: for stretching."""
    place = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    nearness: Float32 = (1 - np.abs(place[:, None] - np.arange(source))).astype(np.float32)
    return nearness.clip(0)

"""Twelve numbers that put the image where the model expects it: colour by channel, and place, size and slant.

A prompt need not be a pattern of pixels: what often separates one source of images from another is exposure, inversion,
framing or scale, which an added picture cannot undo. [own design]
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat
from scipy.sparse import csr_array

from fedbbpt.backend import Modality
from fedbbpt.types import Float32, Floats

MOST = 10.0  # log gain: far beyond, float32 overflows and black times infinity is no pixel


class Colour:
    """Exposure by channel, and place, size and slant of the image: twelve numbers.

    clip(gain · warp(x) + offset), with all of θ measured in units of ε.

    θ (12,) = log gain of the three channels, offset of the three channels, and the 2×2 matrix and the 2 offsets of the
    map from prompted to original coordinates, both in [−1, 1]: u ↦ (I + ε·M) u + ε·t, bilinear, black outside.
    """

    modalities: tuple[Modality, ...] = ("image",)
    dim = 12

    def __init__(self, size: tuple[int, int], /, *, epsilon: PositiveFloat = 0.1) -> None:
        self._size = size
        self._epsilon = epsilon
        x, y = ((2 * np.arange(n) + 1) / n - 1 for n in reversed(size))  # pixel centres
        self._grid = np.stack([np.tile(x, len(y)), np.repeat(y, len(x))])  # (2, h·w)

    def init(self, rng: np.random.Generator) -> Float32:
        """Zeros: the image as it is."""
        return np.zeros(self.dim, np.float32)

    def features(self, inputs: Float32) -> None:
        """None needed."""

    def apply(self, theta: Floats, inputs: Float32, features: Float32 | None) -> Float32:
        """See `Prompt`."""
        b = len(inputs)
        columns = np.ascontiguousarray(inputs.reshape(b * 3, -1).T)  # (h·w, b·3)
        out = np.empty((len(theta), b * 3, columns.shape[0]), np.float32)
        for picture, t in zip(out, self._epsilon * np.asarray(theta, np.float64), strict=True):
            warped = self._warp(np.eye(2) + t[6:10].reshape(2, 2), t[10:12]) @ columns  # (h·w, b·3)
            gain, offset = (np.tile(v, b).astype(np.float32) for v in (np.exp(np.clip(t[0:3], -MOST, MOST)), t[3:6]))
            warped *= gain
            warped += offset
            np.clip(warped.T, 0, 1, out=picture)
        return out.reshape(-1, 3, *self._size)

    def _warp(self, matrix: NDArray[np.float64], shift: NDArray[np.float64]) -> "csr_array":
        """Bilinear sampling as a sparse matrix (h·w, h·w): each prompted pixel from its four original neighbours."""
        h, w = self._size
        x, y = ((matrix @ self._grid + shift[:, None] + 1) * np.array([[w], [h]]) - 1) / 2  # in pixels
        # Unrounded, an error in the last digit would mix a trace of the neighbour into an unmoved pixel; unclipped,
        # what is far outside would not fit into an integer.
        x, y = x.round(9).clip(-2, w + 1), y.round(9).clip(-2, h + 1)
        left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
        right_share, bottom_share = x - left, y - top
        rows = np.stack([top, top, top + 1, top + 1], axis=1)  # (h·w, 4)
        columns = np.stack([left, left + 1, left, left + 1], axis=1)
        across, down = np.stack([1 - right_share, right_share]), np.stack([1 - bottom_share, bottom_share])  # (2, h·w)
        weights = (down[:, None] * across).reshape(4, -1).T  # (h·w, 4)
        inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
        ends = np.concatenate([[0], np.cumsum(inside.sum(1))])
        values = weights[inside].astype(np.float32)
        return csr_array((values, (rows * w + columns)[inside], ends), shape=(h * w, h * w))

"""An affine map of the image's colours, and one of its coordinates.

A prompt need not be a pattern of pixels. Sources of images often differ in exposure, contrast, inversion, framing or
scale, none of which an added picture can undo. [own design]
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat
from scipy.sparse import csr_array

from fedbbpt.backend import Modality
from fedbbpt.prompts import Prompt
from fedbbpt.types import Float32, Floats

PIECE = 8  # images at a time: what they take stays in the processor's cache
MOST = 10.0  # log gain and log contrast: far beyond, float32 overflows, and black times infinity is NaN


class Look(NamedTuple):
    """What one θ does to an image."""

    warp: csr_array  # of pixels
    slope: NDArray[np.float64]  # (3,)
    level: NDArray[np.float64]  # (3,)


class Affine(Prompt):
    """Exposure per channel, contrast, and position, size and slant of the image: thirteen numbers.

    clip(gain · (contrast · (warp(x) − ½) + ½) + offset), with all of θ measured in units of ε. θ = 0 is the image as it
    is.

    θ (13,) = log gain of the three channels, offset of the three channels, the 2×2 matrix and the 2 offsets of the map
    from prompted to original coordinates, both in [−1, 1]: u ↦ (I + ε·M) u + ε·t, bilinear, black outside; and the log
    of the contrast, one for all channels.

    Args:
        size: height and width of the images in pixels.
        epsilon: ε, the change per unit of θ.

    A quarter more light in the red channel:

    >>> import numpy as np
    >>> prompt = Affine((2, 2), epsilon=1.0)
    >>> theta = np.zeros((1, 13))  # one candidate
    >>> theta[0, 0] = np.log(1.25)
    >>> grey = np.full((1, 3, 2, 2), 0.4, np.float32)
    >>> prompt.apply(theta, grey, None)[0, :, 0, 0]
    array([0.5, 0.4, 0.4], dtype=float32)
    """

    modalities: tuple[Modality, ...] = ("image",)
    dim = 13

    def __init__(self, size: tuple[int, int], /, *, epsilon: PositiveFloat = 0.1) -> None:
        h, w = self._size = size
        self._epsilon = epsilon
        x, y = ((2 * np.arange(n) + 1) / n - 1 for n in (w, h))  # pixel centres
        self._grid = np.stack([np.tile(x, h), np.repeat(y, w)])  # (2, h·w)
        self._corners = np.array([0, 1, w + 3, w + 4], np.int32)  # four neighbours in a framed image
        self._ends = 4 * np.arange(h * w + 1, dtype=np.int32)
        self._warp = lru_cache(maxsize=32)(self._make_warp)  # one client after the other may ask under the same θ

    def apply(self, theta: Floats, inputs: Float32, features: Float32 | None) -> Float32:
        """See `Prompt`."""
        h, w = self._size
        looks = [self._look(t) for t in self._epsilon * np.asarray(theta, np.float64)]
        out = np.empty((len(theta), len(inputs), 3, h * w), np.float32)
        for start in range(0, len(inputs), PIECE):
            some = inputs[start : start + PIECE]
            framed = np.zeros((h + 3, w + 3, len(some), 3), np.float32)  # in black: 1 before, 2 behind
            framed[1:-2, 1:-2] = some.transpose(2, 3, 0, 1)
            columns = framed.reshape((h + 3) * (w + 3), -1)  # (pixels, b·3)
            for pictures, look in zip(out[:, start : start + PIECE], looks, strict=True):
                picture = pictures.reshape(-1, h * w)
                slopes, levels = (np.tile(v, len(some)).astype(np.float32)[:, None] for v in look[1:])  # (b·3, 1)
                np.multiply((look.warp @ columns).T, slopes, out=picture)
                picture += levels
                np.clip(picture, 0, 1, out=picture)
        return out.reshape(-1, 3, h, w)

    def _look(self, t: NDArray[np.float64]) -> Look:
        gain, contrast = np.exp(np.clip(t[0:3], -MOST, MOST)), np.exp(np.clip(t[12], -MOST, MOST))
        return Look(self._warp(t[6:12].tobytes()), gain * contrast, gain * (1 - contrast) / 2 + t[3:6])

    def _make_warp(self, parameters: bytes) -> "csr_array":
        """Bilinear sampling as a sparse matrix (h·w, (h+3)·(w+3)): each pixel from four neighbours in the frame."""
        h, w = self._size
        slant, shift = np.split(np.frombuffer(parameters), [4])
        limits = np.array([[w], [h]])
        matrix = np.eye(2) + slant.reshape(2, 2)
        source = ((matrix @ self._grid + shift[:, None] + 1) * limits - 1) / 2  # (2, h·w), in pixels
        # Unrounded, an error in the last digit would mix a trace of the neighbour into an unmoved pixel; what is
        # outside lies on the frame.
        source = np.clip(source.round(9), -1, limits)
        corner = np.floor(source)
        right, down = (source - corner).astype(np.float32)
        left, top = corner.astype(np.int32) + 1
        neighbours = (top * (w + 3) + left)[:, None] + self._corners  # (h·w, 4)
        weights = np.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], axis=1)
        shape = (h * w, (h + 3) * (w + 3))
        return csr_array((weights.ravel(), neighbours.ravel(), self._ends), shape=shape)

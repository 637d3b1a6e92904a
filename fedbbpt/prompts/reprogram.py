"""Model reprogramming: the image, made smaller, inside a learned border (BAR, Tsai et al. 2020, arXiv 2007.08714)."""

from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat

from fedbbpt.backend import Modality
from fedbbpt.data.resize import average
from fedbbpt.prompts import Prompt
from fedbbpt.types import Float32, Floats


class Reprogram(Prompt):
    """The image made smaller, inside a learned border: model reprogramming.

    x shrunk to a window in the middle, and clip(½ + ε · p) around it, p free on the border, ε = `epsilon`.

    The window's sides are the share `image_scale` of the image's, by area average. θ = 0 is not the image as it is but
    the small one in mid grey.

    >>> import numpy as np
    >>> prompt = Reprogram((4, 4), image_scale=0.5)
    >>> black = np.zeros((1, 3, 4, 4), np.float32)
    >>> prompt.apply(np.zeros((1, prompt.dim)), black, None)[0, 0]
    array([[0.5, 0.5, 0.5, 0.5],
           [0.5, 0. , 0. , 0.5],
           [0.5, 0. , 0. , 0.5],
           [0.5, 0.5, 0.5, 0.5]], dtype=float32)
    """

    modalities: tuple[Modality, ...] = ("image",)

    def __init__(
        self,
        size: tuple[int, int],
        /,
        *,
        epsilon: PositiveFloat = 0.1,
        image_scale: Annotated[float, Field(gt=0, lt=1)] = 0.75,
    ) -> None:
        sides = [max(1, min(n - 1, round(image_scale * n))) for n in size]  # of the window
        self._rows, self._columns = (average(n, side) for n, side in zip(size, sides, strict=True))
        self._window = tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(size, sides, strict=True))
        self._mask = np.ones((3, *size), bool)
        self._mask[:, *self._window] = False
        self.dim = int(self._mask.sum())
        self._epsilon = epsilon

    def apply(self, theta: Floats, inputs: Float32, features: Float32 | None) -> Float32:
        """See `Prompt`."""
        borders = np.zeros((len(theta), *self._mask.shape), np.float32)
        borders[:, self._mask] = np.clip(0.5 + self._epsilon * theta, 0, 1)
        prompted = np.repeat(borders[:, None], len(inputs), axis=1)  # (n, b, 3, h, w)
        prompted[:, :, :, *self._window] = np.clip(self._rows @ inputs @ self._columns.T, 0, 1)
        return prompted.reshape(-1, *inputs.shape[1:])

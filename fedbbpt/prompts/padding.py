"""A learned border around the image: the padding prompt of Bahng et al. 2022, arXiv 2203.17274."""

from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat

from fedbbpt.backend import Modality
from fedbbpt.prompts import Prompt, add
from fedbbpt.types import Float32, Floats


class Padding(Prompt):
    """A free pattern on a border around the image.

    clip(x + ε · p), p = θ on a border of `width` (a share of the shorter side) and 0 inside; d is three times the
    number of its pixels. θ = 0 is the image as it is.

    The default width is the paper's 30 of 224 pixels. A unit of θ changes a pixel by `epsilon` (ε).

    >>> import numpy as np
    >>> prompt = Padding((4, 4), width=0.25)  # a border of one pixel
    >>> prompt.dim
    36
    >>> grey = np.full((1, 3, 4, 4), 0.5, np.float32)
    >>> prompt.apply(np.full((1, 36), 2.0), grey, None)[0, 0]
    array([[0.7, 0.7, 0.7, 0.7],
           [0.7, 0.5, 0.5, 0.7],
           [0.7, 0.5, 0.5, 0.7],
           [0.7, 0.7, 0.7, 0.7]], dtype=float32)
    """

    modalities: tuple[Modality, ...] = ("image",)

    def __init__(
        self,
        size: tuple[int, int],
        /,
        *,
        epsilon: PositiveFloat = 0.1,
        width: Annotated[float, Field(gt=0, le=0.5)] = 30 / 224,
    ) -> None:
        border = max(1, round(width * min(size)))
        self._mask = np.ones((3, *size), bool)
        self._mask[:, border : size[0] - border, border : size[1] - border] = False
        self.dim = int(self._mask.sum())
        self._epsilon = epsilon

    def apply(self, theta: Floats, inputs: Float32, features: Float32 | None) -> Float32:
        """See `Prompt`."""
        pictures = np.zeros((len(theta), *self._mask.shape), np.float32)
        pictures[:, self._mask] = self._epsilon * theta
        return add(pictures, inputs)

"""A learned frame around the image ("padding prompt", Bahng et al. 2022, arXiv 2203.17274)."""

from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat

from fedbbpt.backend import Modality
from fedbbpt.prompts import Prompt, add
from fedbbpt.types import Float32, Floats


class Padding(Prompt):
    """A free pattern on a border around the image.

    clip(x + ε · p), p free on a border of `width` (share of the shorter side) and 0 inside. θ = 0 is the image as it
    is.

    The default width is the paper's 30 of 224 pixels.
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

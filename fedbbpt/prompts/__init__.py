"""Prompts: pure functions of a flat parameter vector θ and the inputs."""

from typing import Protocol

import numpy as np

from fedbbpt.types import Float32, Floats


class Prompt(Protocol):
    """(θ, inputs) -> prompted inputs.

    A prompt's class takes the input size (h, w) as its one positional argument and its own options by keyword.
    """

    dim: int

    def init(self, rng: np.random.Generator) -> Float32:
        """Initial θ (d,)."""

    def features(self, inputs: Float32) -> Float32 | None:
        """What `apply` wants to know of images (b, 3, h, w) beside their pixels: (b, D), or None for nothing.

        Depends on the images only, so that it is computed once an image and kept.
        """

    def apply(self, theta: Floats, inputs: Float32, features: Float32 | None) -> Float32:
        """Candidates θ (n, d), inputs (b, 3, h, w) in [0, 1] -> (n·b, 3, h, w) float32 in [0, 1], candidates first."""


def add(pictures: Float32, inputs: Float32) -> Float32:
    """Lays n pictures (n, 3, h, w) over b inputs (b, 3, h, w): (n·b, 3, h, w), clipped to the valid pixel range."""
    sums = pictures[:, None] + inputs  # (n, b, 3, h, w)
    return np.clip(sums, 0, 1, out=sums).reshape(-1, *inputs.shape[1:])

"""No prompt: the images as they are. With readout `head`, the baseline that every prompt has to beat."""

import numpy as np

from fedbbpt.types import Float32, Floats


class NoPrompt:
    """No prompt: the images as they are."""

    dim = 0

    def __init__(self, size: tuple[int, int], /) -> None:
        pass

    def init(self, rng: np.random.Generator) -> Float32:
        """Nothing: shape (0,)."""
        return np.zeros(0, np.float32)

    def features(self, inputs: Float32) -> None:
        """None needed."""

    def apply(self, theta: Floats, inputs: Float32, features: Float32 | None) -> Float32:
        """The inputs, once a candidate."""
        return np.tile(inputs, (len(theta), 1, 1, 1))

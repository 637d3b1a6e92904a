"""No prompt: the inputs as they are. With readout `linear`, the baseline that every prompt has to beat."""

import numpy as np

from fedbbpt.backend import Modality
from fedbbpt.prompts import Prompt
from fedbbpt.types import Float32, Floats, Inputs, Size


class NoPrompt(Prompt):
    """No prompt: the inputs as they are."""

    dim = 0
    modalities: tuple[Modality, ...] = ("image", "text")

    def __init__(self, size: Size, /) -> None:
        pass

    def apply(self, theta: Floats, inputs: Inputs, features: Float32 | None) -> Inputs:
        """The inputs, once a candidate."""
        return np.concatenate([inputs] * len(theta))

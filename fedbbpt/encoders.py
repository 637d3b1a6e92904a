"""Frozen encoders, which run at the client: image features that cost no query.

They are found by name in the entry points of the group `fedbbpt.encoders`.
"""

from abc import abstractmethod
from typing import ClassVar, Protocol

import numpy as np

from fedbbpt.data.resize import average
from fedbbpt.types import Float32


class Encoder(Protocol):
    """Maps images to features. An encoder's class takes no argument."""

    extra: ClassVar[str | None] = None  # of fedbbpt's optional dependencies, that has to be installed, if any
    dim: int  # of the features

    @abstractmethod
    def features(self, inputs: Float32) -> Float32:
        """Images (b, 3, h, w) in [0, 1] -> features (b, dim)."""


class Pixels(Encoder):
    """The image itself, averaged down to 16 × 16 pixels and standardised; it needs no model.

    >>> import numpy as np
    >>> features = Pixels().features(np.random.default_rng(1).random((2, 3, 64, 64), np.float32))
    >>> features.shape
    (2, 768)
    """

    side = 16
    dim = 3 * side * side

    def features(self, inputs: Float32) -> Float32:
        """(b, 3, h, w) -> (b, 768), mean 0 and variance 1 per image."""
        rows, columns = (average(n, self.side) for n in inputs.shape[2:])
        small = (rows @ inputs @ columns.T).reshape(len(inputs), -1)
        centred = small - small.mean(1, keepdims=True)
        standard: Float32 = (centred / (centred.std(1, keepdims=True) + np.float32(1e-6))).astype(np.float32)
        return standard

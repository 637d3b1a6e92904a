"""No readout: for methods that cut the model."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.readouts import ReadoutBase, normalised
from fedbbpt.types import Float32, Floats


class NoReadout(ReadoutBase):
    """For methods that cut the model and train a classifier of their own; the whole model may score other classes.

    Where it scores the task's, it reads them as `Identity` does, for zero-shot; elsewhere it knows nothing.
    """

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`; NaN without the task's classes."""
        base = self._scores.base(scores)
        return np.full((*scores.shape[:-2], self._scores.classes), np.nan) if base is None else normalised(base)

"""No readout: for algorithms that split the model."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.readouts import ReadoutBase, log_softmax
from fedbbpt.types import Float32, Floats


class NoReadout(ReadoutBase):
    """For algorithms that split the model and train a classifier of their own.

    The zero-shot baseline reads the whole model's scores as `identity` does, or knows nothing where the model scores
    other classes than the task's.
    """

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`; NaN where the model lacks one of the task's classes."""
        if self._columns is None:
            return np.full((*scores.shape[:-2], self._num_classes), np.nan)
        return log_softmax(self.class_log_scores(scores))

"""No readout: for methods that cut the model."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts import Scores
from fedbbpt.readouts.identity import Identity
from fedbbpt.types import Float32, Floats


class NoReadout(Identity):
    """For methods that cut the model and train a classifier of their own; the whole model may score other classes.

    Where it scores the task's, it reads them as `Identity` does, for zero-shot; elsewhere it knows nothing.
    """

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        self._scores = Scores(info, classes)
        self._columns = self._scores.columns or []

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`; NaN without the task's classes."""
        if self._columns:
            return super().log_probabilities(weights, scores)
        return np.full((*scores.shape[:-2], self._scores.classes), np.nan)

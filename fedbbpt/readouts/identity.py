"""The backend's own classes, as they are."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts import Answered, OfScores, Scores, Total, by_name, normalised
from fedbbpt.types import Float32, Floats


class Identity(OfScores):
    """The backend's own classes, matched to the task's by name; nothing to train. Views are averaged."""

    trainable = False

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        self._scores = Scores(info, classes)
        self._columns = by_name(self._scores, info, classes, "identity")

    def init(self, views: int) -> Float32:
        """Nothing: shape (0,)."""
        return np.zeros(0, np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        return normalised(self._scores.centred(scores)[..., self._columns].mean(-2))

    def statistics(self, weights: Floats, answered: Answered) -> NDArray[np.float64]:
        """Nothing to tell."""
        return np.zeros(0)

    def fit(self, weights: Floats, total: Total) -> NDArray[np.float64]:
        """Nothing to fit."""
        return np.zeros(0)

"""The backend's own classes, as they are."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts import ReadoutBase, log_softmax, require_classes
from fedbbpt.types import Float32, Floats


class Identity(ReadoutBase):
    """The backend's own classes, matched to the task's by name; nothing is trained.

    log p = log_softmax(mean log-score of the class over the prompts).

    >>> import numpy as np
    >>> from fedbbpt.backend import BackendInfo
    >>> info = BackendInfo("three-classes", None, ("cat", "dog", "owl"), "probabilities", 64)
    >>> readout = Identity(info, ("dog", "cat"))
    >>> scores = np.array([[[0.2, 0.6, 0.2]]], np.float32)  # of one example under one prompt: (1, 1, 3)
    >>> np.exp(readout.log_probabilities(readout.init(1), scores)).round(2)
    array([[0.75, 0.25]])
    """

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        super().__init__(info, classes)
        require_classes(info, classes, "identity")

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        return log_softmax(self.class_log_scores(scores))

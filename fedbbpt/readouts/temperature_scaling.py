"""The backend's own classes with one temperature and a bias for each class."""

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveInt

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts import AggregateFn, ReadoutBase, ReadoutData, cross_entropy, log_softmax, require_classes
from fedbbpt.readouts.lbfgs import lbfgs
from fedbbpt.types import Float32, Floats


class TemperatureScaling(ReadoutBase):
    """One temperature and a bias per class on the backend's own classes, fitted with exact gradients.

    log p = log_softmax(e^τ · s + b), s the log-scores of the task's classes: bias-corrected temperature scaling
    (Alexandari et al. 2020, arXiv 1901.06852); 1 + K weights, `l2` and `max_evaluations` as in `linear`.
    """

    trainable = True

    def __init__(
        self,
        info: BackendInfo,
        classes: tuple[str, ...],
        *,
        l2: NonNegativeFloat = 0.005,
        max_evaluations: PositiveInt = 30,
    ) -> None:
        super().__init__(info, classes)
        require_classes(info, classes, "temperature-scaling")
        self._l2, self._max_evaluations = l2, max_evaluations

    @property
    def most_exchanges(self) -> int:
        """See `Readout`."""
        return self._max_evaluations

    def init(self, num_prompts: int) -> Float32:
        """Zeros, with which it agrees with `identity`: shape (1 + K,)."""
        return np.zeros(1 + self._num_classes, np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        return log_softmax(np.exp(weights[0]) * self.class_log_scores(scores) + weights[1:])

    def statistics(self, weights: Floats, data: ReadoutData) -> NDArray[np.float64]:
        """Number of answers, sum of their losses, and its gradient: (3 + K,)."""
        logits = np.exp(weights[0]) * data.class_log_scores
        log_p = log_softmax(logits + weights[1:])
        residual = np.exp(log_p) - np.eye(self._num_classes)[data.labels]  # d loss / d logits: (N, K)
        gradient = [(residual * logits).sum(), *residual.sum(0)]
        return np.array([len(log_p), cross_entropy(log_p, data.labels).sum(), *gradient])

    def fit(self, weights: Floats, aggregate: AggregateFn) -> NDArray[np.float64]:
        """See `Readout`."""
        return lbfgs(weights, aggregate, self._l2, self._max_evaluations)

"""Class means of the answers, in closed form from one exchange of sums."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts import Answered, ReadoutBase, Total, normalised
from fedbbpt.types import Float32, Floats


class Prototypes(ReadoutBase):
    """The nearest class mean of the answers, with the spread around the means as temperature; closed form.

    log p = log_softmax(−‖s − μ_k‖² / 2σ²), s the log-scores of all views over √C, μ_k the mean over the examples of
    class k, σ² their mean variance in a coordinate: the Bayes classifier of round Gaussians of one size. Before the
    first fit, classes are matched by name; where they do not agree, all are equally likely.
    """

    trainable = True

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        super().__init__(info, classes)

    def init(self, views: int) -> Float32:
        """Zeros: 1/2σ², then the means: shape (1 + K·V·C,)."""
        return np.zeros(1 + self._scores.classes * views * self._scores.inputs, np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        features = self._scores.features(scores)
        means = weights[1:].reshape(self._scores.classes, -1)
        nearness = 2 * features @ means.T - (means**2).sum(1)  # (…, K): ‖s‖² − ‖s − μ_k‖²
        base = self._scores.base(scores) if weights[0] == 0 else None
        return normalised(weights[0] * nearness if base is None else base)

    def statistics(self, weights: Floats, answered: Answered) -> NDArray[np.float64]:
        """Examples and summed answers of each class, and the sum of all squares: (K + K·V·C + 1,)."""
        of_class = np.eye(self._scores.classes)[answered.labels]  # (N, K)
        s = answered.features
        return np.concatenate([of_class.sum(0), (of_class.T @ s).ravel(), [(s**2).sum()]])

    def fit(self, weights: Floats, total: Total) -> NDArray[np.float64]:
        """See the class; one exchange."""
        start: NDArray[np.float64] = np.asarray(weights, np.float64)
        told, classes = total(start), self._scores.classes
        counts, sums, squares = told[:classes], told[classes:-1].reshape(classes, -1), told[-1]
        if not counts.any():
            return start
        centre = sums.sum(0) / counts.sum()  # stands in for a class that nobody has
        means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centre)
        within = squares - (counts[:, None] * means**2).sum()
        variance = max(within / (counts.sum() * means.shape[1]), 1e-6)
        return np.concatenate([[1 / (2 * variance)], means.ravel()])

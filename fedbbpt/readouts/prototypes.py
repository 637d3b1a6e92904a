"""Class means of the answers, in closed form from one exchange of sums."""

import numpy as np
from numpy.typing import NDArray

from fedbbpt.readouts import AggregateFn, ReadoutBase, ReadoutData, log_softmax
from fedbbpt.types import Float32, Floats


class Prototypes(ReadoutBase):
    """The nearest class mean of the answers, with the spread around the means as temperature; closed form.

    log p = log_softmax(−‖s − μ_k‖² / 2σ²), s the centred log-scores under all prompts over √C, μ_k the mean over the
    examples of class k, σ² their mean variance per coordinate: the Bayes classifier of round Gaussians of one size.
    Before the first fit, classes are matched by name; where they do not agree, all are equally likely.

    >>> import numpy as np
    >>> from fedbbpt.backend import BackendInfo
    >>> info = BackendInfo("colours", None, ("red", "blue"), "probabilities", 64)
    >>> readout = Prototypes(info, ("apple", "plum"))
    >>> scores = np.array([[[0.9, 0.1]], [[0.8, 0.2]], [[0.3, 0.7]], [[0.2, 0.8]]], np.float32)  # (N, V, C)
    >>> data = readout.fit_data(scores, np.array([0, 0, 1, 1]))
    >>> weights = readout.fit(readout.init(1), lambda w: readout.statistics(w, data))
    >>> readout.log_probabilities(weights, scores).argmax(1)
    array([0, 0, 1, 1])
    """

    trainable = True

    def init(self, num_prompts: int) -> Float32:
        """Zeros: 1/2σ², then the means (K, V·C)."""
        return np.zeros(1 + self._num_classes * num_prompts * self._num_scores, np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        if weights[0] == 0:
            return log_softmax(self.class_log_scores(scores))
        features = self.features(scores)
        means = weights[1:].reshape(self._num_classes, -1)
        nearness = 2 * features @ means.T - (means**2).sum(1)  # (…, K): ‖s‖² − ‖s − μ_k‖²
        return log_softmax(weights[0] * nearness)

    def statistics(self, weights: Floats, data: ReadoutData) -> NDArray[np.float64]:
        """Number of examples and summed features per class, and the sum of all squares: (K + K·V·C + 1,)."""
        of_class = np.eye(self._num_classes)[data.labels]  # (N, K)
        s = data.features
        return np.concatenate([of_class.sum(0), (of_class.T @ s).ravel(), [(s**2).sum()]])

    def fit(self, weights: Floats, aggregate: AggregateFn) -> NDArray[np.float64]:
        """See `Readout`; one exchange."""
        start: NDArray[np.float64] = np.asarray(weights, np.float64)
        sums, k = aggregate(start), self._num_classes
        counts, totals, squares = sums[:k], sums[k:-1].reshape(k, -1), sums[-1]
        if not counts.any():
            return start
        centre = totals.sum(0) / counts.sum()  # stands in for a class that nobody has
        means = np.where(counts[:, None] > 0, totals / np.maximum(counts, 1)[:, None], centre)
        within = squares - (counts[:, None] * means**2).sum()
        variance = max(within / (counts.sum() * means.shape[1]), 1e-6)
        return np.concatenate([[1 / (2 * variance)], means.ravel()])

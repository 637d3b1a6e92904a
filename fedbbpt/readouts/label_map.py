"""The backend's classes, renamed: output mapping of visual reprogramming, for models that know other classes."""

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.readouts import AggregateFn, ReadoutBase, ReadoutData, log_softmax
from fedbbpt.types import Float32, Floats

UNMAPPED = -1.0


class LabelMap(ReadoutBase):
    """Reads each class of the task from the backend's classes that its examples are most often taken for.

    log p = log_softmax(mean log-score of the class's `per_class` backend classes), chosen one pair after the other by
    frequency, each backend class for one class only (BAR: Tsai et al. 2020, arXiv 2007.08714). `iterative` chooses anew
    whenever the prompt has moved (ILM: Chen et al. 2023, arXiv 2211.11635), else the first choice stays. Before the
    first fit, classes are matched by name; where they do not agree, all are equally likely.
    """

    trainable = True

    def __init__(
        self, info: BackendInfo, classes: tuple[str, ...], *, iterative: bool = True, per_class: PositiveInt = 1
    ) -> None:
        if len(info.classes) < per_class * len(classes):
            raise ConfigError(
                f"readout 'label-map' needs {per_class * len(classes)} classes of {info.model} for the task's "
                f"{len(classes)}, which scores {len(info.classes)}; use --readout linear"
            )
        super().__init__(info, classes)
        self._iterative, self._per_class = iterative, per_class

    def init(self, num_prompts: int) -> Float32:
        """No class is mapped yet: shape (K · per_class,), columns of the backend as numbers."""
        return np.full(self._num_classes * self._per_class, UNMAPPED, np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        if (weights == UNMAPPED).any():
            return log_softmax(self.class_log_scores(scores))
        columns = weights.astype(np.int64).reshape(self._num_classes, -1)
        return log_softmax(self.centred_log_scores(scores)[..., columns].mean((-3, -1)))

    def statistics(self, weights: Floats, data: ReadoutData) -> NDArray[np.float64]:
        """How often each backend class scores highest for each class, and its summed probability: (2 · K · C,)."""
        num_prompts = data.features.shape[1] // self._num_scores
        features = data.features.reshape(-1, num_prompts, self._num_scores)  # (N, V, C)
        mean = features.mean(1) * np.sqrt(self._num_scores)
        of_class = np.eye(self._num_classes)[data.labels]  # (N, K)
        taken_for = np.eye(self._num_scores)[mean.argmax(1)]  # (N, C)
        counts, probabilities = of_class.T @ taken_for, of_class.T @ np.exp(log_softmax(mean))
        return np.concatenate([counts.ravel(), probabilities.ravel()])

    def fit(self, weights: Floats, aggregate: AggregateFn) -> NDArray[np.float64]:
        """See `Readout`; one exchange."""
        start: NDArray[np.float64] = np.asarray(weights, np.float64)
        if (start != UNMAPPED).all() and not self._iterative:
            return start
        counts, probabilities = aggregate(start).reshape(2, self._num_classes, self._num_scores)
        if not counts.any():
            return start
        worth = counts + probabilities / (1 + probabilities.sum())  # ties go to the likelier
        columns = np.full((self._num_classes, self._per_class), UNMAPPED)
        for rank in range(self._per_class):
            left = worth.copy()
            for _ in range(self._num_classes):
                row, column = np.unravel_index(np.argmax(left), left.shape)
                columns[row, rank] = column
                left[row], left[:, column], worth[:, column] = -1, -1, -1
        return columns.ravel()

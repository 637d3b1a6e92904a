"""The backend's classes, renamed: what visual reprogramming reads where the model knows other classes than the task."""

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.readouts import Answered, ReadoutBase, Total, normalised
from fedbbpt.types import Float32, Floats

OPEN = -1.0  # not mapped yet


class LabelMap(ReadoutBase):
    """Each class of the task is read from classes of the backend that its examples are most often taken for.

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
                f"{len(classes)}, which scores {len(info.classes)}; use --readout head"
            )
        super().__init__(info, classes)
        self._iterative, self._per_class = iterative, per_class

    def init(self, views: int) -> Float32:
        """All open: shape (K · per_class,), columns of the backend as numbers."""
        return np.full(self._scores.classes * self._per_class, OPEN, np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        if (weights != OPEN).all():
            columns = weights.astype(np.int64).reshape(self._scores.classes, -1)
            return normalised(self._scores.centred(scores)[..., columns].mean((-3, -1)))
        base = self._scores.base(scores)
        undecided = np.zeros(self._scores.classes) * self._scores.centred(scores)[..., :1].mean(-2)  # NaN stays NaN
        return normalised(undecided if base is None else base)

    def statistics(self, weights: Floats, answered: Answered) -> NDArray[np.float64]:
        """How often each backend class scores highest for each class, and its summed probability: (2 · K · C,)."""
        views = answered.features.shape[1] // self._scores.inputs
        mean = answered.features.reshape(-1, views, self._scores.inputs).mean(1) * np.sqrt(self._scores.inputs)
        of_class = np.eye(self._scores.classes)[answered.labels]  # (N, K)
        taken_for = np.eye(self._scores.inputs)[mean.argmax(1)]  # (N, C)
        counts, probabilities = of_class.T @ taken_for, of_class.T @ np.exp(normalised(mean))
        return np.concatenate([counts.ravel(), probabilities.ravel()])

    def fit(self, weights: Floats, total: Total) -> NDArray[np.float64]:
        """See the class; one exchange."""
        start: NDArray[np.float64] = np.asarray(weights, np.float64)
        if (start != OPEN).all() and not self._iterative:
            return start
        counts, probabilities = total(start).reshape(2, self._scores.classes, self._scores.inputs)
        if not counts.any():
            return start
        worth = counts + probabilities / (1 + probabilities.sum())  # ties go to the likelier
        columns = np.full((self._scores.classes, self._per_class), OPEN)
        for place in range(self._per_class):
            left = worth.copy()
            for _ in range(self._scores.classes):
                row, column = np.unravel_index(np.argmax(left), left.shape)
                columns[row, place] = column
                left[row], left[:, column], worth[:, column] = -1, -1, -1
        return columns.ravel()

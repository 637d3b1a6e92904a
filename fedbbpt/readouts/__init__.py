"""What turns a backend's scores into log-probabilities over the task's classes.

All functions are pure: a readout's parameters are one flat vector, `weights`, that the caller keeps. An example may be
asked about under several prompts ("views"): its answers are then V rows of C scores.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.types import Float32, Floats, Int64

LEAST = 1e-12  # probability: what a service rounds to 0 is not quite impossible

Total = Callable[
    [NDArray[np.float64]], NDArray[np.float64]
]  # weights -> `statistics` at these weights, summed over all clients


class Answered(NamedTuple):
    """Answers as a readout computes with them."""

    features: NDArray[np.float64]  # (N, V·C): log-scores over √C
    base: NDArray[np.float64] | None  # (N, K): the log-scores of the task's classes, mean over views; None if unknown
    labels: Int64  # (N,)


class Readout(Protocol):
    """Answers (…, V, C) of the backend to log-probabilities (…, K) over the task's classes.

    A readout's class takes the backend's info and the task's classes as its positional arguments, and its options by
    keyword.
    """

    trainable: ClassVar[bool] = False  # whether there is anything to fit
    probes: ClassVar[tuple[str, ...]] = ()  # texts to ask about beside every batch, under the same prompts

    def init(self, views: int) -> Float32:
        """Initial weights for answers under that many prompts; (0,) where nothing is trained."""
        return np.zeros(0, np.float32)

    @abstractmethod
    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """scores (…, V, C) -> (…, K); an example without a whole answer is a row of NaN."""

    @abstractmethod
    def answered(self, scores: Float32, labels: Int64) -> Answered:
        """Answers (N, V, C) with labels (N,), ready for a fit: examples whose query failed are left out."""

    def statistics(self, weights: Floats, answered: Answered) -> NDArray[np.float64]:
        """All that a client tells for the fit: sums (S,) over its answers. Sums go with secure aggregation."""
        return np.zeros(0)

    def fit(self, weights: Floats, total: Total) -> NDArray[np.float64]:
        """Better weights from sums over all clients; every call of `total` is one exchange with them, and no query."""
        return np.zeros(0)

    def calibrate(self, scores: Float32, probes: Float32) -> Float32:
        """Scores (n, b, V, C) as they are to be read, given those of the k `probes` (n, k, V, C)."""
        return scores


class Scores:
    """The backend's scores, whatever their kind, as log-probabilities over its classes, up to a constant."""

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        self.inputs, self.classes = len(info.classes), len(classes)
        self._kind = info.scores
        where = {name: column for column, name in enumerate(info.classes)}
        self.columns = [where[name] for name in classes] if set(classes) <= set(where) else None

    def centred(self, scores: Float32) -> NDArray[np.float64]:
        """Any kind of scores (…, C) -> log-scores of mean 0."""
        s = scores.astype(np.float64)
        if self._kind == "probabilities":
            s = np.log(np.maximum(s, LEAST))
        elif self._kind == "log-probabilities":
            s = np.maximum(s, np.log(LEAST))
        centred: NDArray[np.float64] = s - s.mean(-1, keepdims=True)
        return centred

    def features(self, scores: Float32) -> NDArray[np.float64]:
        """(…, V, C) -> (…, V·C): log-scores over √C, so that a picture's features have a length of about 1."""
        s = self.centred(scores)
        features: NDArray[np.float64] = s.reshape(*s.shape[:-2], s.shape[-2] * s.shape[-1]) / np.sqrt(self.inputs)
        return features

    def base(self, scores: Float32) -> NDArray[np.float64] | None:
        """(…, V, C) -> (…, K): the task's classes by name, mean over views; None where any is missing."""
        if self.columns is None:
            return None
        views = max(1, scores.shape[-2])  # without any, nothing is known: zeros
        mean: NDArray[np.float64] = self.centred(scores)[..., self.columns].sum(-2) / views
        return mean

    def answered(self, scores: Float32, labels: Int64) -> Answered:
        """The examples (N, V, C) that were answered, ready for a fit."""
        features, base = self.features(scores), self.base(scores)
        whole = np.isfinite(features).all(1)
        return Answered(features[whole], None if base is None else base[whole], labels[whole])


class ReadoutBase(Readout):
    """A readout of the backend's log-scores."""

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        self._scores = Scores(info, classes)

    def answered(self, scores: Float32, labels: Int64) -> Answered:
        """See `Readout`."""
        return self._scores.answered(scores, labels)


def cross_entropy(log_probabilities: NDArray[np.float64], labels: Int64) -> NDArray[np.float64]:
    """(…, b, K) and labels (b,) -> (…, b): nats by example."""
    return -log_probabilities[..., np.arange(len(labels)), labels]


def normalised(logits: Any) -> NDArray[np.float64]:
    """Logits (…, K) to log-probabilities."""
    result: NDArray[np.float64] = log_softmax(logits, axis=-1)
    return result


def by_name(scores: Scores, info: BackendInfo, classes: tuple[str, ...], readout: str) -> list[int]:
    """Where the task's classes stand among the backend's.

    Raises:
        ConfigError: one of them is missing.
    """
    if scores.columns is None:
        raise ConfigError(
            f"readout {readout!r} needs a score for every class of the task, but {info.model} scores "
            f"{_short(info.classes)} and the task has {_short(classes)}; use --readout head"
        )
    return scores.columns


def _short(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"{len(names)} classes ({shown})"

"""Readouts map a backend's scores to log-probabilities over the task's classes.

They are pure functions: a readout's parameters are one flat vector, `weights`, which the caller keeps. In shapes, K is
the number of the task's classes, C of the backend's, V of the prompts under which each example is asked about, N or b
of examples.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.types import Float32, Floats, Int64

LEAST = 1e-12  # smallest probability: what a service rounds to 0 is not quite impossible

AggregateFn = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # weights -> `statistics` summed over all clients


class ReadoutData(NamedTuple):
    """Labelled answers in the form that a fit computes with."""

    features: NDArray[np.float64]  # (N, V·C): centred log-scores over √C
    class_log_scores: NDArray[np.float64]  # (N, K): mean over prompts; equal where the backend lacks a class
    labels: Int64  # (N,)


class Readout(Protocol):
    """Scores (…, V, C) of the backend to log-probabilities (…, K) over the task's classes.

    A readout's class takes the backend's info and the task's classes as its positional arguments, and its options by
    keyword.
    """

    trainable: ClassVar[bool] = False  # whether there are weights to fit
    probes: ClassVar[tuple[str, ...]] = ()  # texts to ask about beside every batch, under the same prompts

    @property
    def most_exchanges(self) -> int:
        """The most exchanges of a fit: calls of `aggregate`."""
        return 1 if self.trainable else 0

    def init(self, num_prompts: int) -> Float32:
        """Initial weights for answers under that many prompts; (0,) where nothing is trained."""
        return np.zeros(0, np.float32)

    @abstractmethod
    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """Scores (…, V, C) -> (…, K); an example whose answers are incomplete is a row of NaN."""

    @abstractmethod
    def fit_data(self, scores: Float32, labels: Int64) -> ReadoutData:
        """Scores (N, V, C) and labels (N,) for a fit; examples whose answers are incomplete are left out."""

    def statistics(self, weights: Floats, data: ReadoutData) -> NDArray[np.float64]:
        """Sums (S,) over a client's answers: all that it tells for a fit, so that secure aggregation applies."""
        return np.zeros(0)

    def fit(self, weights: Floats, aggregate: AggregateFn) -> NDArray[np.float64]:
        """Better weights, from `statistics` summed over all clients.

        Every call of `aggregate` is one exchange with the clients, and costs no query.
        """
        return np.zeros(0)

    def calibrate(self, scores: Float32, probes: Float32) -> Float32:
        """Scores (n, b, V, C) as they are to be read, given those of the k `probes` (n, k, V, C)."""
        return scores


class ReadoutBase(Readout):
    """A readout of log-scores: log-probabilities over the backend's classes up to a constant, whatever it scores in."""

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        self._num_scores, self._num_classes = len(info.classes), len(classes)  # C, K
        self._kind = info.scores
        where = {name: column for column, name in enumerate(info.classes)}
        self._columns = [where[name] for name in classes] if set(classes) <= set(where) else None

    def fit_data(self, scores: Float32, labels: Int64) -> ReadoutData:
        """See `Readout`."""
        features, class_log_scores = self.features(scores), self.class_log_scores(scores)
        whole = np.isfinite(features).all(1)
        return ReadoutData(features[whole], class_log_scores[whole], labels[whole])

    def centred_log_scores(self, scores: Float32) -> NDArray[np.float64]:
        """Scores of any kind (…, C) -> log-scores of mean 0."""
        s = scores.astype(np.float64)
        if self._kind == "probabilities":
            s = np.log(np.maximum(s, LEAST))
        elif self._kind == "log-probabilities":
            s = np.maximum(s, np.log(LEAST))
        centred: NDArray[np.float64] = s - s.mean(-1, keepdims=True)
        return centred

    def features(self, scores: Float32) -> NDArray[np.float64]:
        """(…, V, C) -> (…, V·C): centred log-scores over √C, so that those under one prompt have length about 1."""
        s = self.centred_log_scores(scores)
        features: NDArray[np.float64] = s.reshape(*s.shape[:-2], s.shape[-2] * s.shape[-1]) / np.sqrt(self._num_scores)
        return features

    def class_log_scores(self, scores: Float32) -> NDArray[np.float64]:
        """(…, V, C) -> (…, K): the task's classes, mean over prompts; all equal where the backend lacks one of them."""
        s = self.centred_log_scores(scores)
        if self._columns is None:
            equal: NDArray[np.float64] = np.zeros(self._num_classes) * s[..., :1].sum(-2)  # NaN stays NaN
            return equal
        mean: NDArray[np.float64] = s[..., self._columns].sum(-2) / max(1, s.shape[-2])
        return mean


def cross_entropy(log_probabilities: NDArray[np.float64], labels: Int64) -> NDArray[np.float64]:
    """Log-probabilities (…, b, K) and labels (b,) -> losses in nats (…, b).

    >>> cross_entropy(np.log([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1])).round(3)
    array([0.693, 0.223])
    """
    return -log_probabilities[..., np.arange(len(labels)), labels]


def log_softmax(logits: Any) -> NDArray[np.float64]:
    """Logits (…, K) to log-probabilities."""
    result: NDArray[np.float64] = special.log_softmax(logits, axis=-1)
    return result


def require_classes(info: BackendInfo, classes: tuple[str, ...], readout: str) -> None:
    """Raises ConfigError where the backend lacks one of the task's classes, which the readout needs."""
    if not set(classes) <= set(info.classes):
        raise ConfigError(
            f"readout {readout!r} needs a score for every class of the task, but {info.model} scores "
            f"{_short(info.classes)} and the task has {_short(classes)}; use --readout linear"
        )


def _short(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"{len(names)} classes ({shown})"

"""What turns a backend's scores into log-probabilities over the task's classes.

All functions are pure: a readout's parameters are one flat vector, `weights`, that the caller keeps.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat
from scipy.special import log_softmax

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.types import Float32, Floats, Int64

LEAST = 1e-12  # probability: what a service rounds to 0 is not quite impossible


class Readout(Protocol):
    """Scores (…, C) of the backend to log-probabilities (…, K) over the task's classes."""

    dim: int

    def init(self) -> Float32:
        """Initial weights (dim,)."""

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """scores (…, C) -> (…, K); NaN rows stay NaN."""

    def fit(self, weights: Floats, scores: Float32, labels: Int64) -> NDArray[np.float64]:
        """Better weights from answers (n, b, C) that are already paid for, labels (b,)."""


class Identity:
    """The backend's own classes, matched to the task's by name; nothing to train."""

    dim = 0

    def __init__(self, info: BackendInfo, classes: tuple[str, ...]) -> None:
        columns = _columns(info, classes)
        if columns is None:
            raise ConfigError(
                f"readout 'identity' needs a score for every class of the task, but {info.model} scores "
                f"{_short(info.classes)} and the task has {_short(classes)}; use --readout head"
            )
        self._columns = columns
        self._kind = info.scores

    def init(self) -> Float32:
        """Nothing: shape (0,)."""
        return np.zeros(0, np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        return _log_softmax(_log_scores(self._kind, scores)[..., self._columns])

    def fit(self, weights: Floats, scores: Float32, labels: Int64) -> NDArray[np.float64]:
        """Nothing to fit."""
        return np.zeros(0)


class Head:
    """A linear layer on the answers, trained with exact gradients; it costs no query of its own.

    log p = log_softmax(base + W s / √C + b), with s the backend's log-scores (C,), centred over its classes. `base` is
    what `identity` reads where the classes agree by name, else 0; W and b start at 0, so an untrained head agrees with
    `identity`. One `fit` is `steps` steps of full-batch gradient descent on the cross-entropy over all answers given,
    plus `decay`·|weights|²/2. A step is `learning_rate` over ½ (mean |s|²/C + 1) + `decay`, which bounds the curvature:
    below 2 it cannot diverge, whatever the scale of the scores.
    """

    def __init__(
        self,
        info: BackendInfo,
        classes: tuple[str, ...],
        *,
        steps: NonNegativeInt = 20,
        learning_rate: PositiveFloat = 1.9,
        decay: NonNegativeFloat = 0.0,
    ) -> None:
        self._shape = (len(classes), len(info.classes))
        self.dim = self._shape[0] * (self._shape[1] + 1)
        self._columns = _columns(info, classes)
        self._kind = info.scores
        self._steps, self._learning_rate, self._decay = steps, learning_rate, decay

    def init(self) -> Float32:
        """Zeros: shape (K·C + K,)."""
        return np.zeros(self.dim, np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        return self._read(weights, _log_scores(self._kind, scores) / np.sqrt(self._shape[1]))

    def fit(self, weights: Floats, scores: Float32, labels: Int64) -> NDArray[np.float64]:
        """See the class. Examples whose query failed are left out."""
        classes, inputs = self._shape
        s = _log_scores(self._kind, scores).reshape(-1, inputs)  # (n·b, C)
        y = np.eye(classes)[np.tile(labels, len(s) // len(labels))]  # (n·b, K)
        answered = np.isfinite(s).all(1)
        s, y = s[answered] / np.sqrt(inputs), y[answered]
        w: NDArray[np.float64] = np.array(weights, np.float64)
        if len(s) == 0:
            return w
        step = self._learning_rate / (0.5 * ((s**2).sum(1).mean() + 1) + self._decay)
        for _ in range(self._steps):
            residual = (np.exp(self._read(w, s)) - y) / len(s)  # d cross-entropy / d logits
            gradient = np.concatenate([(residual.T @ s).ravel(), residual.sum(0)])
            w -= step * (gradient + self._decay * w)
        return w

    def _read(self, weights: Floats, s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-probabilities from scaled log-scores s / √C."""
        classes, inputs = self._shape
        matrix, bias = weights[: classes * inputs].reshape(classes, inputs), weights[classes * inputs :]
        base = 0.0 if self._columns is None else s[..., self._columns] * np.sqrt(inputs)
        return _log_softmax(base + s @ matrix.T + bias)


def cross_entropy(log_probabilities: NDArray[np.float64], labels: Int64) -> NDArray[np.float64]:
    """(…, b, K) and labels (b,) -> (…, b): nats by example."""
    return -log_probabilities[..., np.arange(len(labels)), labels]


def _log_scores(kind: str, scores: Float32) -> NDArray[np.float64]:
    """Any kind of scores as log-probabilities over the backend's classes, up to a constant: here of mean 0."""
    s = scores.astype(np.float64)
    if kind == "probabilities":
        s = np.log(np.maximum(s, LEAST))
    elif kind == "log-probabilities":
        s = np.maximum(s, np.log(LEAST))
    centred: NDArray[np.float64] = s - s.mean(-1, keepdims=True)
    return centred


def _log_softmax(logits: Any) -> NDArray[np.float64]:
    result: NDArray[np.float64] = log_softmax(logits, axis=-1)
    return result


def _columns(info: BackendInfo, classes: tuple[str, ...]) -> list[int] | None:
    """Where the task's classes stand among the backend's; None if any is missing."""
    where = {name: column for column, name in enumerate(info.classes)}
    return [where[name] for name in classes] if set(classes) <= set(where) else None


def _short(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"{len(names)} classes ({shown})"

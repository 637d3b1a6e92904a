"""Answers of a model with four classes about a task of three, all of which it mistakes: for readouts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts import Readout, cross_entropy
from fedbbpt.types import Float32, Floats, Int64

Answers = tuple[Float32, Int64]  # scores (N, V, C) and labels (N,)
MODEL = ("ant", "bee", "cat", "dog")
TASK = ("dog", "bee", "ant")  # columns 3, 1, 0 of the model
TAKEN_FOR = np.array([1, 0, 2])  # what the model takes the task's classes for: none by its name
KINDS: Mapping[str, Callable[[Any], NDArray[Any]]] = {  # logits to scores of each kind
    "logits": lambda logits: logits + 5,
    "log-probabilities": lambda logits: log_softmax(logits, -1),
    "probabilities": lambda logits: softmax(logits, -1),
}


def make(kind: type[Readout], scores: Any = "logits", /, **options: Any) -> Readout:
    """A readout for the model's scores of one kind; the model reads texts if the readout has probes, else images."""
    built: Any = kind
    readout: Readout = built(BackendInfo("m", None if kind.probes else (8, 8), MODEL, scores, 8), TASK, **options)
    return readout


def answers(views: int = 2, scores: str = "logits") -> Float32:
    """Scores (2, 5, V, C) that say nothing of any class."""
    logits = np.random.default_rng(0).normal(0, 2, (2, 5, views, len(MODEL))).astype(np.float32)
    return logits if scores == "logits" else KINDS[scores](logits.astype(np.float64)).astype(np.float32)


def known(views: int = 2, scores: str = "logits", examples: int = 40) -> Answers:
    """Answers that differ by class."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(3), rng.integers(0, 3, examples - 3)])
    logits = 3 * np.eye(len(MODEL))[TAKEN_FOR[labels]][:, None] + rng.normal(0, 0.5, (examples, views, len(MODEL)))
    logits = logits.astype(np.float32)
    return (logits if scores == "logits" else KINDS[scores](logits.astype(np.float64)).astype(np.float32)), labels


def fit(readout: Readout, clients: Sequence[Answers], start: Floats | None = None) -> NDArray[np.float64]:
    """A fit to what several clients tell."""
    start = readout.init(clients[0][0].shape[1]) if start is None else start
    return readout.fit(
        start, lambda w: np.sum([readout.statistics(w, readout.fit_data(*client)) for client in clients], 0)
    )


def fitted(readout: Readout, views: int = 2) -> NDArray[np.float64]:
    """The weights of a fit to the known answers."""
    return fit(readout, [known(views)])


def loss(readout: Readout, weights: Floats, scores: Float32, labels: Int64) -> float:
    """The mean cross-entropy in nats."""
    return float(cross_entropy(readout.log_probabilities(weights, scores), labels).mean())

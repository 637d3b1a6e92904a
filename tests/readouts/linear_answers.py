"""A linear readout, and answers for it."""

import numpy as np
from scipy.special import log_softmax

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts.linear import LinearReadout

MODEL = ("a", "b", "x", "y")
UNKNOWN = ("a", "b", "c")  # one is not the model's: no base to start from
NAMED = ("y", "a", "b")  # columns 3, 0, 1


def head(classes=UNKNOWN, **options):
    return LinearReadout(BackendInfo("some-model", (8, 8), MODEL, "logits", 8), classes, **options)


def answers(views=2, examples=30, seed=0):
    """Answers (N, V, C) that tell something of the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, examples)
    scores = rng.normal(0, 2, (examples, views, len(MODEL))) + np.eye(3, len(MODEL))[labels][:, None]
    return scores.astype(np.float32), labels


def further(views=3, examples=30, seed=5):
    """Answers (n, N, C) to further views."""
    return np.random.default_rng(seed).normal(0, 2, (views, examples, len(MODEL))).astype(np.float32)


def some_weights(readout, views=2):
    return np.random.default_rng(1).normal(size=readout.init(views).shape)


def fit(readout, scores, labels, start=None):
    start = readout.init(scores.shape[1]) if start is None else start
    return readout.fit(start, lambda w: readout.statistics(w, readout.fit_data(scores, labels)))


def worth(w, scores, labels, classes, l2):
    """What a fit minimises, step by step: mean cross-entropy + l2·|w|²/2."""
    s = scores.astype(np.float64)
    s -= s.mean(-1, keepdims=True)
    base = s[:, :, [MODEL.index(name) for name in classes]].mean(1) if set(classes) <= set(MODEL) else 0
    logits = base + s.reshape(len(s), -1) @ w[:-3].reshape(3, -1).T / 2 + w[-3:]  # 2: the root of 4 inputs
    return -log_softmax(logits, -1)[np.arange(len(labels)), labels].mean() + l2 * (w @ w) / 2


def slope(function, x, step=1e-5):
    return np.array([(function(x + e) - function(x - e)) / (2 * step) for e in step * np.eye(len(x))])

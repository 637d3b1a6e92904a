"""Readouts with weights that have exact gradients: a linear head, and temperature and bias alone.

The federation minimises one function, the cross-entropy over all clients' answers, by L-BFGS at the server: each of its
evaluations is one exchange of weights for summed gradients. So the result is that of one hand with all the answers,
however the clients' labels are skewed, and no client takes a step of its own.
"""

from contextlib import suppress
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy.optimize import minimize

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts import Answered, ReadoutBase, Total, by_name, cross_entropy, normalised
from fedbbpt.types import Float32, Floats, Int64

TINY = 1e-12


class Head(ReadoutBase):
    """A linear layer on the answers, trained with exact gradients; it costs no query of its own.

    log p = log_softmax(base + W s / √C + b), with s the log-scores of all views (V·C,), centred over the backend's
    classes. `base` is what `identity` reads where the classes agree by name, else 0; W and b start at 0, so an
    untrained head agrees with `identity`. A fit minimises the mean cross-entropy over all clients' answers plus
    `decay`·√V·|weights|²/2, in at most `evaluations` exchanges. (Equal views would share the weights of one, which
    calls for V; views that have nothing to do with each other would call for 1.)
    """

    trainable = True

    def __init__(
        self,
        info: BackendInfo,
        classes: tuple[str, ...],
        *,
        decay: Annotated[float, Field(gt=0)] = 0.004,
        evaluations: PositiveInt = 30,
    ) -> None:
        super().__init__(info, classes)
        self._decay, self._evaluations = decay, evaluations

    def init(self, views: int) -> Float32:
        """Zeros: shape (K·V·C + K,)."""
        return np.zeros(self._scores.classes * (views * self._scores.inputs + 1), np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        return self._read(weights, self._scores.features(scores), self._scores.base(scores))

    def statistics(self, weights: Floats, answered: Answered) -> NDArray[np.float64]:
        """Number of answers, sum of their cross-entropies, and its gradient: (2 + K·V·C + K,)."""
        log_p = self._read(weights, answered.features, answered.base)
        residual = self._residual(log_p, answered)
        gradient = np.concatenate([(residual.T @ answered.features).ravel(), residual.sum(0)])
        return np.concatenate([[len(log_p), cross_entropy(log_p, answered.labels).sum()], gradient])

    def fit(self, weights: Floats, total: Total) -> NDArray[np.float64]:
        """See the class."""
        views = (len(weights) // self._scores.classes - 1) // self._scores.inputs
        return lbfgs(weights, total, self._decay * max(1, views) ** 0.5, self._evaluations)

    def resized(self, weights: Floats, *, remove: int | None = None, insert: int | None = None) -> Floats:
        """The weights without one view's part, or with a part of zeros for a further view at that place."""
        classes = self._scores.classes
        matrix = weights[:-classes].reshape(classes, -1, self._scores.inputs)  # (K, V, C)
        if remove is not None:
            matrix = np.delete(matrix, remove, 1)
        if insert is not None:
            matrix = np.insert(matrix, insert, 0, 1)
        return np.concatenate([matrix.ravel(), weights[-classes:]])

    def slopes(self, weights: Floats, kept: Float32, more: Float32, labels: Int64) -> NDArray[np.float64]:
        """What further views explain of the errors that are left, without a fit: (n, K·C + 1).

        For each of the n views with answers `more` (n, N, C): the gradient of the summed cross-entropy by that view's
        part of W at 0, with all else as fitted to the answers `kept` (N, V, C), and the sum of its squared features.
        """
        features, base = self._scores.features(kept), self._scores.base(kept)
        s = self._scores.features(more[:, :, None])  # (n, N, C)
        answered = np.asarray(np.isfinite(s).all(axis=2))  # (n, N)
        silent = ~answered.any(axis=1)  # all about them is NaN: they promise nothing
        whole = np.isfinite(features).all(1) & answered[~silent].all(0)
        if silent.all():  # nothing to say, for or against any
            return np.zeros((len(s), self._scores.classes * self._scores.inputs + 1))
        known = Answered(features[whole], None if base is None else base[whole], labels[whole])
        residual = self._residual(self._read(weights, known.features, known.base), known)
        s = s[:, whole]
        gradients, squares = residual.T @ s, (s**2).sum((1, 2))  # (n, K, C), (n,)
        return np.concatenate([gradients.reshape(len(s), -1), squares[:, None]], 1)

    def gains(self, slopes: Floats) -> NDArray[np.float64]:
        """How far each further view goes to explain the errors (n,), from the sum of all clients' slopes.

        |residualᵀ s|² / |s|²: the choice of matching pursuit (Mallat & Zhang 1993), for a matrix of coefficients.
        """
        explained: NDArray[np.float64] = (slopes[:, :-1] ** 2).sum(1) / np.maximum(slopes[:, -1], TINY)
        return explained

    def _residual(self, log_p: NDArray[np.float64], known: Answered) -> NDArray[np.float64]:
        """d cross-entropy / d logits: (N, K)."""
        return np.exp(log_p) - np.eye(self._scores.classes)[known.labels]

    def _read(
        self, weights: Floats, features: NDArray[np.float64], base: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        classes = self._scores.classes
        matrix, bias = weights[:-classes].reshape(classes, -1), weights[-classes:]
        return normalised((0.0 if base is None else base) + features @ matrix.T + bias)


class Temperature(ReadoutBase):
    """One temperature and a bias for each class, trained with exact gradients on the answers ("calibration").

    log p = log_softmax(e^τ · base + b), bias-corrected temperature scaling (Alexandari et al. 2020, arXiv 1901.06852);
    1 + K numbers, `decay` as in `head`.
    """

    trainable = True

    def __init__(
        self,
        info: BackendInfo,
        classes: tuple[str, ...],
        *,
        decay: NonNegativeFloat = 0.005,
        evaluations: PositiveInt = 30,
    ) -> None:
        super().__init__(info, classes)
        by_name(self._scores, info, classes, "temperature")
        self._decay, self._evaluations = decay, evaluations

    def init(self, views: int) -> Float32:
        """Zeros, with which it agrees with `identity`: shape (1 + K,)."""
        return np.zeros(1 + self._scores.classes, np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        base = self._scores.base(scores)
        assert base is not None  # the constructor has seen to it
        return normalised(np.exp(weights[0]) * base + weights[1:])

    def statistics(self, weights: Floats, answered: Answered) -> NDArray[np.float64]:
        """Number of answers, sum of their cross-entropies, and its gradient: (3 + K,)."""
        assert answered.base is not None
        logits = np.exp(weights[0]) * answered.base
        log_p = normalised(logits + weights[1:])
        residual = np.exp(log_p) - np.eye(self._scores.classes)[answered.labels]
        gradient = [(residual * logits).sum(), *residual.sum(0)]
        return np.array([len(log_p), cross_entropy(log_p, answered.labels).sum(), *gradient])

    def fit(self, weights: Floats, total: Total) -> NDArray[np.float64]:
        """See the class."""
        return lbfgs(weights, total, self._decay, self._evaluations)


class _SpentError(Exception):
    """No exchange is left."""


def lbfgs(weights: Floats, total: Total, decay: float, evaluations: int) -> NDArray[np.float64]:
    """Minimises mean loss + decay·|weights|²/2; `total` gives count, summed loss and summed gradient.

    The best weights of at most so many evaluations. scipy's own limit waits for the end of a step, and a step near the
    minimum, where clients' sums are exact to 7 digits only, may take 40 of them.
    """
    best: NDArray[np.float64] = np.asarray(weights, np.float64)
    least, done = np.inf, 0

    def mean(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal best, least, done
        if done == evaluations:
            raise _SpentError
        done += 1
        count, loss, *gradient = total(w)
        if count == 0:  # nobody has an answer: stay here
            return 0.0, np.zeros_like(w)
        value = loss / count + decay / 2 * (w @ w)
        if value < least:
            best, least = w.copy(), value
        return value, np.array(gradient) / count + decay * w

    options = {"maxcor": 20, "ftol": 1e-5, "gtol": 1e-5}
    with suppress(_SpentError):
        minimize(mean, best, jac=True, method="L-BFGS-B", options=options)
    return best

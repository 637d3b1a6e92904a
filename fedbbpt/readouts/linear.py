"""A linear layer on the backend's scores."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts import AggregateFn, ReadoutBase, ReadoutData, cross_entropy, log_softmax
from fedbbpt.readouts.class_moments import class_moments, virtual_examples
from fedbbpt.readouts.surrogate_likelihood import Function, least, minimum
from fedbbpt.types import Float32, Floats, Int64

TINY = 1e-12


class LinearReadout(ReadoutBase):
    """A linear layer on the answers, fitted with exact gradients; it costs no query of its own.

    log p = log_softmax(s + W x / √C + b), x the centred log-scores under all prompts (V·C,), and s those of the task's
    classes where the backend scores all of them by name, else 0. W and b start at 0, so that an untrained layer agrees
    with `identity`. A fit minimises the mean cross-entropy over all clients' answers plus `l2`·√V·|weights|²/2. (Equal
    prompts would share the weights of one, which calls for V; prompts that have nothing to do with each other would
    call for 1.)

    A fit takes one exchange for the moments of each class (`class_moments`), and then at most `max_evaluations` for
    loss and gradient (`surrogate_likelihood`). With one prompt, two to five are usually enough for the minimum. Whether
    a fitted layer is kept is decided by cross-validation and the validation data together (`run.evaluate.select_best`).

    A backend that knows other classes than the task, fitted by a federation of one client:

    >>> import numpy as np
    >>> from fedbbpt.backend import BackendInfo
    >>> info = BackendInfo("colours", None, ("red", "blue"), "probabilities", 64)
    >>> readout = LinearReadout(info, ("apple", "plum"))
    >>> scores = np.array([[[0.9, 0.1]], [[0.2, 0.8]]] * 8, np.float32)  # (N, V, C): 16 examples under one prompt
    >>> data = readout.fit_data(scores, np.array([0, 1] * 8))
    >>> weights = readout.fit(readout.init(1), lambda w: readout.statistics(w, data))
    >>> np.exp(readout.log_probabilities(weights, scores[:2])).round(2)
    array([[0.99, 0.01],
           [0.01, 0.99]])
    """

    trainable = True

    def __init__(
        self,
        info: BackendInfo,
        classes: tuple[str, ...],
        *,
        l2: Annotated[float, Field(gt=0)] = 0.004,
        max_evaluations: PositiveInt = 10,
    ) -> None:
        super().__init__(info, classes)
        self._l2, self._max_evaluations = l2, max_evaluations

    @property
    def most_exchanges(self) -> int:
        """See `Readout`."""
        return 1 + self._max_evaluations

    def init(self, num_prompts: int) -> Float32:
        """Zeros: W (K, V·C), then b (K,)."""
        return np.zeros(self._num_classes * (num_prompts * self._num_scores + 1), np.float32)

    def log_probabilities(self, weights: Floats, scores: Float32) -> NDArray[np.float64]:
        """See `Readout`."""
        return self._read(weights, self.features(scores), self.class_log_scores(scores))

    def read(self, weights: Floats, data: ReadoutData) -> NDArray[np.float64]:
        """Log-probabilities (N, K) of the answers."""
        return self._read(weights, data.features, data.class_log_scores)

    def num_prompts(self, weights: Floats) -> int:
        """V, the prompts whose scores these weights (m,) take."""
        return (len(weights) // self._num_classes - 1) // self._num_scores

    def statistics(self, weights: Floats, data: ReadoutData) -> NDArray[np.float64]:
        """Number of answers, sum of their losses, its gradient: (2 + K·V·C + K,); for no weights, `class_moments`."""
        if not len(weights):
            return class_moments(data.features, data.labels, self._num_classes)
        log_p = self.read(weights, data)
        residual = self._residual(log_p, data.labels)
        gradient = np.concatenate([(residual.T @ data.features).ravel(), residual.sum(0)])
        return np.concatenate([[len(log_p), cross_entropy(log_p, data.labels).sum()], gradient])

    def fit(self, weights: Floats, aggregate: AggregateFn) -> NDArray[np.float64]:
        """See `Readout`."""
        start: NDArray[np.float64] = np.asarray(weights, np.float64)
        moments = aggregate(np.zeros(0))
        if not moments[: self._num_classes].any():  # nobody has an answer: stay here
            return start
        surrogate = self._surrogate(moments, self.num_prompts(weights))
        return minimum(
            lambda w: self._mean_loss(w, aggregate(w)), surrogate, np.zeros_like(start), self._max_evaluations
        )

    def loss(self, weights: Floats, data: ReadoutData) -> tuple[float, NDArray[np.float64]]:
        """What a fit to a client's answers alone would minimise, and its gradient (m,); needs at least one answer."""
        return self._mean_loss(np.asarray(weights, np.float64), self.statistics(weights, data))

    def curvature(self, data: ReadoutData, num_prompts: int) -> float:
        """A bound of the curvature of `loss`, and so a Lipschitz constant of its gradient.

        ½ λ + decay, with λ the largest eigenvalue of the mean of x xᵀ over features x with a 1 for the bias, since
        diag p − p pᵀ is at most ½ (Böhning 1992, Ann. Inst. Statist. Math. 44).
        """
        features = np.concatenate([data.features, np.ones((len(data.features), 1))], 1)
        return float(np.linalg.norm(features, 2) ** 2 / len(features) / 2 + self._decay(num_prompts))

    def fitted_to_moments(self, moments: Floats, weights: Floats) -> NDArray[np.float64]:
        """Weights fitted to the `class_moments` of answers alone, without an exchange; in the shape of `weights` (m,).

        Where nobody has an answer, they are those of an untrained layer.
        """
        untrained: NDArray[np.float64] = np.zeros(len(weights))
        if not moments[: self._num_classes].any():
            return untrained
        return least(self._surrogate(moments, self.num_prompts(weights)), untrained)[1]

    def resized(self, weights: Floats, *, remove: int | None = None, insert: int | None = None) -> Floats:
        """The weights without those of one prompt, or with zeros for a further prompt at that index."""
        k = self._num_classes
        matrix = weights[:-k].reshape(k, -1, self._num_scores)  # (K, V, C)
        if remove is not None:
            matrix = np.delete(matrix, remove, 1)
        if insert is not None:
            matrix = np.insert(matrix, insert, 0, 1)
        return np.concatenate([matrix.ravel(), weights[-k:]])

    def candidate_statistics(
        self, weights: Floats, selected: Float32, candidates: Float32, labels: Int64
    ) -> NDArray[np.float64]:
        """What each of n candidate prompts promises beside the selected ones, as sums over answers: (n, S); no fit.

        Candidates have answers (n, N, C), the selected prompts (N, V, C). Where none is selected: `class_moments` with
        products of all classes together. Else, with everything else as fitted to the selected prompts: the gradient of
        the summed losses by the candidate's part of W at 0, and the sum of its squared features (K·C + 1,).
        """
        features, class_log_scores = self.features(selected), self.class_log_scores(selected)
        s = self.features(candidates[:, :, None])  # (n, N, C)
        answered = np.asarray(np.isfinite(s).all(axis=2))  # (n, N)
        silent = np.asarray(~answered.any(axis=1))  # all about them is NaN: they promise nothing
        whole = np.isfinite(features).all(1) & answered[~silent].all(0)
        if silent.all():  # nothing to say, for or against any
            whole, silent = np.zeros_like(whole), np.zeros_like(silent)
        s, labels = s[:, whole], labels[whole]
        if not selected.shape[1]:
            moments = [class_moments(one, labels, self._num_classes, by_class=False) for one in s]
            return np.where(silent[:, None], np.nan, moments)
        residual = self._residual(self._read(weights, features[whole], class_log_scores[whole]), labels)
        gradients, squares = residual.T @ s, (s**2).sum((1, 2))  # (n, K, C), (n,)
        return np.concatenate([gradients.reshape(len(s), -1), squares[:, None]], 1)

    def candidate_gains(self, statistics: Floats, num_selected: int) -> NDArray[np.float64]:
        """How good each candidate is (n,), from the sum of all clients' `candidate_statistics`; NaN if unknown.

        Beside selected prompts: how far it goes to explain the errors, |residualᵀ s|² / |s|², which is the choice of
        matching pursuit (Mallat & Zhang 1993), for a matrix of coefficients. Alone: minus the loss (nats) of the layer
        fitted to its answers (variable projection, Golub & Pereyra 1973), as far as their moments tell.
        """
        if num_selected:
            gains: NDArray[np.float64] = (statistics[:, :-1] ** 2).sum(1) / np.maximum(statistics[:, -1], TINY)
            return gains
        known = statistics[:, : self._num_classes].sum(1) > 0  # not where it is NaN, either
        start = self.init(1).astype(np.float64)
        losses = np.full(len(statistics), np.nan)
        losses[known] = [least(self._surrogate(moments, 1), start)[0] for moments in statistics[known]]
        return -losses

    def _mean_loss(self, w: NDArray[np.float64], sums: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """From `statistics`, with the decay."""
        decay, (count, loss, *gradient) = self._decay(self.num_prompts(w)), sums
        return float(loss / count + decay / 2 * (w @ w)), np.array(gradient) / count + decay * w

    def _decay(self, num_prompts: int) -> float:
        return float(self._l2 * np.sqrt(max(1, num_prompts)))

    def _surrogate(self, moments: Floats, num_prompts: int) -> Function:
        """The loss (nats) of virtual examples that have these moments, with the decay; and its gradient."""
        virtual = virtual_examples(np.asarray(moments, np.float64), self._num_classes, num_prompts * self._num_scores)
        class_log_scores, decay = self._class_log_scores(virtual.features), self._decay(num_prompts)

        def surrogate(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            log_p = self._read(w, virtual.features, class_log_scores)
            residual = np.exp(log_p) * virtual.weights.sum(1, keepdims=True) - virtual.weights
            gradient = np.concatenate([(residual.T @ virtual.features).ravel(), residual.sum(0)])
            return decay / 2 * (w @ w) - (log_p * virtual.weights).sum(), gradient + decay * w

        return surrogate

    def _class_log_scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The task's classes (M, K) from features (M, V·C), as `class_log_scores` has them from scores."""
        scores = features.reshape(len(features), -1, self._num_scores) * np.sqrt(self._num_scores)
        if self._columns is None:
            return np.zeros((len(features), self._num_classes))
        mean: NDArray[np.float64] = scores[..., self._columns].sum(1) / max(1, scores.shape[1])
        return mean

    def _residual(self, log_p: NDArray[np.float64], labels: Int64) -> NDArray[np.float64]:
        """d loss / d logits: (N, K)."""
        return np.exp(log_p) - np.eye(self._num_classes)[labels]

    def _read(
        self, weights: Floats, features: NDArray[np.float64], class_log_scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        matrix, bias = weights[: -self._num_classes].reshape(self._num_classes, -1), weights[-self._num_classes :]
        return log_softmax(class_log_scores + features @ matrix.T + bias)

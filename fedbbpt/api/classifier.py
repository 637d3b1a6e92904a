"""A tuned prompt as an estimator of scikit-learn."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.api.training import train
from fedbbpt.config.components import load_class
from fedbbpt.errors import DataError, MissingExtra
from fedbbpt.tuned.inputs import given

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_consistent_length, check_is_fitted
except ImportError as e:
    raise MissingExtra("PromptClassifier", "local", e) from e

ANY_SIZE = (1, 1)  # tells that images are expected; they are read at the model's size later


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Tunes a prompt for a black-box model, in a simulated federation.

    `X` holds images (PIL images, arrays (h, w, 3), paths, or one array (n, h, w, 3)) or texts (strings), not vectors of
    features; `y` any labels. About a fifth of `X` is kept as test data, and the model's provider gets a few examples of
    each class, as in any run (`fedbbpt.train`).

    It passes the checks of scikit-learn for estimators of inputs that are no vectors.

    Example::

        scores = cross_val_score(fedbbpt.PromptClassifier(rounds=2), images, labels, cv=3)

    Args:
        backend: the model, by the name of its backend, or a table of the name and its options.
        clients: among how many clients the data are divided; by default 10, or as many as the data can supply.
        rounds: of training; by default those of the preset.
        preset: see `fedbbpt train --help`.
        max_queries: the most queries of a fit.
        settings: all others, as `fedbbpt.train` takes them.
        out: a folder that keeps the run, with its report; by default it is removed once the estimator is fitted.
        progress: whether the progress of a fit is printed.
        random_state: the seed; the same seed gives the same model.

    Attributes:
        classes_: the labels (K,).
        model_: the `TunedModel`.
        summary_: what the run cost and reached, as in `summary.json`.
        n_queries_: queries of the fit.
    """

    def __init__(
        self,
        backend: Any = "local-vit",
        *,
        clients: int | None = None,
        rounds: int | None = None,
        preset: str | None = None,
        max_queries: int | None = None,
        settings: dict[str, Any] | None = None,
        out: str | None = None,
        progress: bool = False,
        random_state: int = 1,
    ) -> None:
        self.backend = backend
        self.clients = clients
        self.rounds = rounds
        self.preset = preset
        self.max_queries = max_queries
        self.settings = settings
        self.out = out
        self.progress = progress
        self.random_state = random_state

    def fit(self, X: Any, y: Any, clients: Sequence[Any] | None = None) -> "PromptClassifier":  # noqa: N803
        """Trains on inputs `X` (n,) and labels `y` (n,).

        Args:
            X: images or texts.
            y: their labels.
            clients: the name of each example's client (n,), in place of a division by labels.

        Raises:
            DataError: `X` holds neither images nor texts.
            ValueError: `y` holds no classes, or is not as long as `X`.
            FedbbptError: as `fedbbpt.train`.
        """
        inputs, modality = self._read(X)
        check_consistent_length(inputs, y)
        check_classification_targets(y)
        labels, numbers = np.unique(np.asarray(y), return_inverse=True)
        if len(labels) < 2:
            raise DataError(f"expected labels of at least two classes, got one class only: {labels.tolist()}")
        chosen = {"rounds": self.rounds, "max_queries": self.max_queries, "seed": int(self.random_state)}
        more: dict[str, Any] = {key: value for key, value in chosen.items() if value is not None}
        more |= {modality: inputs} | (self.settings or {})
        with tempfile.TemporaryDirectory() as unkept:
            run = train(
                labels=[f"{number:06d}" for number in numbers],  # any label may not be a folder's name
                clients=self.clients if clients is None else list(clients),
                out=self.out or Path(unkept) / "run",
                preset=self.preset,
                progress=self.progress,
                backend=self.backend,
                **more,
            )
            self.summary_ = run.summary
            self.model_ = run.load()
        self.classes_ = labels
        self.n_queries_ = int(self.summary_["queries"])
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities (n, K) of the classes in the order of `classes_`; NaN for an input without an answer."""
        check_is_fitted(self)
        found = self.model_.predict_proba(list(given(X, self.model_.backend.info.input_size).items))
        order = np.argsort([int(name) for name in self.model_.classes])
        exact = found[:, order].astype(np.float64)
        proba: NDArray[np.float64] = exact / exact.sum(1, keepdims=True)
        return proba

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The likeliest label of each input (n,).

        Raises:
            DataError: an input is not what the model reads.
            BackendError: the model left an input without an answer.
        """
        proba = self.predict_proba(X)
        self.model_.check_answered(proba)
        labels: NDArray[Any] = self.classes_[proba.argmax(1)]
        return labels

    def _read(self, X: Any) -> tuple[Sequence[Any], str]:  # noqa: N803
        """The inputs, and what they are: "images" or "texts"."""
        name = self.backend if isinstance(self.backend, str) else self.backend["name"]
        modalities = load_class("backends", name).modalities
        items = given(X, ANY_SIZE if "image" in modalities else None).items
        texts = all(isinstance(one, str) for one in items) and "text" in modalities
        return items, "texts" if texts else "images"

    def __sklearn_tags__(self) -> Any:
        """What kind of input it takes, for scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.no_validation = True
        return tags

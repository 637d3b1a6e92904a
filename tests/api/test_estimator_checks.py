"""All checks of scikit-learn for estimators.

They give vectors of numbers, and `PromptClassifier` reads images or texts. So it passes the checks for estimators of
other inputs as it is; and all of the others once each vector is written as a text, for a model that reads such texts.
One check is skipped, by scikit-learn itself: that of array libraries beside numpy, unless SCIPY_ARRAY_API is set.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted, validate_data

import fedbbpt
from fedbbpt import registry
from fedbbpt.backend import Backend, BackendInfo, BackendOutput

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]  # checks warn of what they try


class Numbers(Backend):
    """Reads a vector that is written as a text; its scores are eight bounded functions of it."""

    modalities = ("text",)

    def __init__(self, provider, /):
        self.info = BackendInfo("numbers", None, tuple("abcdefgh"), "logits", 64)
        self._weights = np.random.default_rng(0).normal(size=(200, 8))

    def query(self, inputs):
        rows = [np.array(text.split(), float) for text in inputs]
        scores = [3 * np.tanh(row @ self._weights[: len(row)] / 3) for row in rows]
        return BackendOutput(np.array(scores, np.float32))


class OfVectors(fedbbpt.PromptClassifier):
    """Writes vectors as texts."""

    def fit(self, X, y):  # noqa: N803
        vectors, labels = validate_data(self, X, y)
        return super().fit(written(vectors), labels)

    def predict_proba(self, X):  # noqa: N803
        check_is_fitted(self)
        return super().predict_proba(written(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.no_validation = True, False
        return tags


def written(vectors) -> list[str]:
    return [" ".join(f"{number:.17g}" for number in vector) for vector in vectors]


@pytest.fixture
def numbers() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._registered, ("backends", "numbers"), Numbers)
        yield


def test_the_estimator_as_it_is(numbers) -> None:
    results = check_estimator(fedbbpt.PromptClassifier(), on_skip=None)
    assert [one["status"] for one in results] == ["passed"]  # of inputs that are no vectors, there is one


def test_the_estimator_of_vectors(numbers) -> None:
    data = {"shots_per_class": 100, "validation_shots_per_class": 1}
    settings = {"prompt": "none", "task": {"provider_shots_per_class": 0}, "data": data}  # this model needs no shots
    results = check_estimator(OfVectors("numbers", clients=2, rounds=1, settings=settings), on_skip=None)
    assert len(results) > 50
    assert {one["check_name"] for one in results if one["status"] != "passed"} == {"check_array_api_input"}

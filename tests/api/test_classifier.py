"""The estimator: what scikit-learn expects of one, on inputs that it can read."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

import fedbbpt
from fedbbpt.errors import BackendError, ConfigError, DataError

pytestmark = pytest.mark.usefixtures("backends")

SETTINGS = {"prompt": "affine", "data": {"shots_per_class": 4}}
QUICK = {"backend": "colours", "clients": 2, "rounds": 1, "settings": SETTINGS}


def test_any_labels_come_back_with_their_probabilities(pictures) -> None:
    images, colours = pictures
    labels = np.array([{"red": 7, "green": -2, "blue": 30}[colour] for colour in colours])
    classifier = fedbbpt.PromptClassifier(**QUICK)
    assert classifier.fit(images, labels) is classifier
    assert classifier.classes_.tolist() == [-2, 7, 30]
    proba = classifier.predict_proba(images[:9])
    assert (proba.argmax(1) == np.searchsorted(classifier.classes_, classifier.predict(images[:9]))).all()
    np.testing.assert_allclose(proba.sum(1), 1)
    assert classifier.score(images, labels) > 0.8
    assert classifier.n_queries_ == classifier.summary_["queries"] > 90
    again = pickle.loads(pickle.dumps(classifier))
    assert (again.predict_proba(images[:9]) == proba).all()
    assert (clone(classifier).fit(images, labels).predict_proba(images[:9]) == proba).all()  # the same seed
    other = clone(classifier).set_params(random_state=5).fit(images, labels)
    assert (other.predict_proba(images[:9]) != proba).any()


def test_it_is_cross_validated_like_any_other(pictures) -> None:
    images, colours = pictures
    pixels = np.stack([np.asarray(image) for image in images])
    scores = cross_val_score(fedbbpt.PromptClassifier(**QUICK), pixels, colours, cv=2, error_score="raise")
    assert (scores > 0.8).all()


def test_texts_and_named_clients() -> None:
    texts = [f"a {mood} day no {i}" for i in range(60) for mood in ("dull", "fine")]
    labels = ["a/b" if "fine" in text else "" for text in texts]  # that no folder could be called
    classifier = fedbbpt.PromptClassifier("reader", rounds=0, settings={"prompt": "none"})
    owners = ["north" if i % 4 < 2 else "south" for i in range(len(texts))]
    classifier.fit(texts, labels, clients=owners)
    assert set(classifier.summary_["clients"]) == {"north", "south"}
    assert set(classifier.predict(["dull", "fine"])) <= {"", "a/b"}


def test_a_run_is_kept_where_it_is_wanted(pictures, tmp_path: Path) -> None:
    fedbbpt.PromptClassifier(out=str(tmp_path / "kept"), **QUICK).fit(*pictures)
    assert (tmp_path / "kept" / "report.html").exists()
    assert fedbbpt.load(tmp_path / "kept").predict(pictures[0][0]) == "000002"


def test_what_cannot_be_fitted_is_refused(pictures) -> None:
    images, labels = pictures
    classifier = fedbbpt.PromptClassifier(**QUICK)
    with pytest.raises(NotFittedError):
        classifier.predict(images)
    with pytest.raises(DataError, match="at least two classes"):
        classifier.fit(images[:3], ["red"] * 3)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.fit(images, labels[:-1])
    with pytest.raises(ValueError, match="Unknown label type"):
        classifier.fit(images, np.linspace(0, 1, len(images)))
    with pytest.raises(ConfigError, match="rounds"):
        clone(classifier).set_params(rounds=-1).fit(images, labels)
    with pytest.raises(BackendError, match="did not answer 1 of 2 inputs"):
        classifier.fit(images, labels).model_.check_answered(np.array([[np.nan, 1], [0, 1]]))
    with pytest.raises(DataError, match="input 0 must be a PIL image"):
        classifier.predict([{}])

"""What every registered readout promises."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from fedbbpt import registry
from fedbbpt.backend import BackendInfo

pytestmark = pytest.mark.parametrize("name", registry.names("readouts"))

MODEL = ("ant", "bee", "cat", "dog")
TASK = ("dog", "bee", "ant")  # columns 3, 1, 0 of the model


def make(name, scores="logits", classes=TASK):
    return registry.load("readouts", name)(BackendInfo("m", (8, 8), MODEL, scores, 8), classes)


def answers(candidates=2, examples=5):
    return np.random.default_rng(0).normal(0, 2, (candidates, examples, len(MODEL))).astype(np.float32)


def weights(readout):
    return np.random.default_rng(1).normal(size=readout.dim)


def test_initial_weights_are_a_flat_float32_vector(name):
    readout = make(name)
    assert readout.init().shape == (readout.dim,)
    assert readout.init().dtype == np.float32


@pytest.mark.parametrize("kind", ["logits", "log-probabilities", "probabilities"])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 5, 4)])
def test_probabilities_add_up_to_one(name, kind, shape):
    readout = make(name, kind)
    scores = softmax(np.random.default_rng(0).normal(size=shape), -1)
    scores = scores if kind == "probabilities" else np.log(scores)
    log_p = readout.log_probabilities(weights(readout), scores.astype(np.float32))
    assert log_p.shape == (*shape[:-1], 3)
    assert log_p.dtype == np.float64
    assert np.allclose(np.exp(log_p).sum(-1), 1)


def test_untrained_readout_reads_the_classes_by_name(name):
    readout = make(name)
    expected = log_softmax(answers().astype(np.float64)[..., [3, 1, 0]], -1)
    assert np.allclose(readout.log_probabilities(readout.init(), answers()), expected)


def test_kinds_of_scores_agree(name):
    logits = answers().astype(np.float64)
    kinds = {"logits": logits, "log-probabilities": log_softmax(logits, -1), "probabilities": softmax(logits, -1)}
    read = []
    for kind, scores in kinds.items():
        readout = make(name, kind)
        read.append(readout.log_probabilities(weights(readout), scores.astype(np.float32)))
    assert np.allclose(read[0], read[1], atol=1e-5)
    assert np.allclose(read[0], read[2], atol=1e-5)


def test_fit_does_not_depend_on_the_kind_of_scores(name):
    logits, labels = answers().astype(np.float64), np.array([0, 1, 2, 0, 1])
    kinds = {"logits": logits + 5, "log-probabilities": log_softmax(logits, -1), "probabilities": softmax(logits, -1)}
    fitted = []
    for kind, scores in kinds.items():
        readout = make(name, kind)
        fitted.append(readout.fit(readout.init(), scores.astype(np.float32), labels))
    assert np.allclose(fitted[0], fitted[1], atol=1e-5)
    assert np.allclose(fitted[0], fitted[2], atol=1e-5)


@pytest.mark.parametrize(("kind", "nothing"), [("probabilities", 0.0), ("log-probabilities", -np.inf)])
def test_impossible_class_is_an_answer_too(name, kind, nothing):
    readout = make(name, kind)
    scores = np.array([nothing, 0.5, 0.25, 0.25], np.float32)
    if kind == "log-probabilities":
        scores[1:] = np.log(scores[1:])
    log_p = readout.log_probabilities(readout.init(), scores)
    assert np.allclose(np.exp(log_p), [1 / 3, 2 / 3, 0], atol=1e-6)


def test_failed_queries_stay_nan_and_alone(name):
    readout, scores = make(name), answers()
    whole = readout.log_probabilities(weights(readout), scores)
    scores[1, 2] = np.nan
    holed = readout.log_probabilities(weights(readout), scores)
    assert np.isnan(holed[1, 2]).all()
    holed[1, 2] = whole[1, 2]
    assert np.array_equal(holed, whole)


def test_large_scores_do_not_overflow(name):
    readout = make(name)
    log_p = readout.log_probabilities(readout.init(), np.array([1e6, -1e6, 0, 2e6], np.float32))
    assert log_p.argmax() == 0
    assert np.isfinite(log_p).all()


def test_fit_changes_none_of_its_arguments(name):
    readout, scores, labels = make(name), answers(), np.array([0, 1, 2, 0, 1])
    start = weights(readout)
    copies = start.copy(), scores.copy(), labels.copy()
    fitted = readout.fit(start, scores, labels)
    assert fitted.shape == (readout.dim,)
    assert fitted.dtype == np.float64
    assert np.array_equal(start, copies[0])
    assert np.array_equal(scores, copies[1])
    assert np.array_equal(labels, copies[2])


def test_fit_without_any_answer_is_survived(name):
    readout = make(name)
    start = weights(readout)
    assert np.array_equal(readout.fit(start, np.full_like(answers(), np.nan), np.array([0, 1, 2, 0, 1])), start)

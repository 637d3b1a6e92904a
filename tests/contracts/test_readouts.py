"""What every registered readout promises."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from fedbbpt import registry
from fedbbpt.backend import BackendInfo
from fedbbpt.readouts import cross_entropy

pytestmark = pytest.mark.parametrize("name", registry.names("readouts"))

MODEL = ("ant", "bee", "cat", "dog")
TASK = ("dog", "bee", "ant")  # columns 3, 1, 0 of the model
TAKEN_FOR = np.array([1, 0, 2])  # what the model takes the task's classes for: none by its name
KINDS = {
    "logits": lambda logits: logits + 5,
    "log-probabilities": lambda logits: log_softmax(logits, -1),
    "probabilities": lambda logits: softmax(logits, -1),
}


TEXTS_ONLY = {"contextual-calibration"}


def make(name, scores="logits", classes=TASK):
    size = None if name in TEXTS_ONLY else (8, 8)
    return registry.load("readouts", name)(BackendInfo("m", size, MODEL, scores, 8), classes)


def answers(views=2, candidates=2, examples=5):
    shape = (candidates, examples, views, len(MODEL))
    return np.random.default_rng(0).normal(0, 2, shape).astype(np.float32)


def known(views=2, examples=40, seed=0):
    """Answers (N, V, C) and labels that differ by class, all of them misnamed."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(3), rng.integers(0, 3, examples - 3)])
    scores = 3 * np.eye(len(MODEL))[TAKEN_FOR[labels]][:, None] + rng.normal(0, 0.5, (examples, views, len(MODEL)))
    return scores.astype(np.float32), labels


def fit(readout, clients, start=None):
    """A fit to what several clients tell."""
    start = readout.init(clients[0][0].shape[1]) if start is None else start
    return readout.fit(
        start, lambda w: np.sum([readout.statistics(w, readout.fit_data(*client)) for client in clients], 0)
    )


def weights(readout, views=2):
    """Those of a fit."""
    return fit(readout, [known(views)])


def loss(readout, weights, scores, labels):
    return cross_entropy(readout.log_probabilities(weights, scores), labels).mean()


def test_initial_weights_are_a_flat_float32_vector_if_there_is_something_to_fit(name):
    readout = make(name)
    (size,) = readout.init(2).shape
    assert readout.init(2).dtype == np.float32
    assert (size > 0) == readout.trainable


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("leading", [(), (5,), (2, 5)])
def test_probabilities_add_up_to_one(name, leading, views, kind, trained):
    readout = make(name, kind)
    scores, labels = known(views)
    w = fit(readout, [(KINDS[kind](scores), labels)]) if trained else readout.init(views)
    shape = (*leading, views, len(MODEL))
    log_p = readout.log_probabilities(w, KINDS[kind](np.random.default_rng(0).normal(size=shape)).astype(np.float32))
    assert log_p.shape == (*leading, 3)
    assert log_p.dtype == np.float64
    assert np.allclose(np.exp(log_p).sum(-1), 1)


@pytest.mark.parametrize("views", [1, 3])
def test_untrained_readout_reads_the_classes_by_name(name, views):
    readout, scores = make(name), answers(views).astype(np.float64)
    centred = scores - scores.mean(-1, keepdims=True)
    expected = log_softmax(centred[..., [3, 1, 0]].mean(-2), -1)
    assert np.allclose(readout.log_probabilities(readout.init(views), answers(views)), expected)


def test_kinds_of_scores_agree(name):
    w = weights(make(name))
    read = [
        make(name, kind).log_probabilities(w, convert(answers().astype(np.float64)).astype(np.float32))
        for kind, convert in KINDS.items()
    ]
    assert np.allclose(read[0], read[1], atol=1e-4)
    assert np.allclose(read[0], read[2], atol=1e-4)


def test_fit_does_not_depend_on_the_kind_of_scores(name):
    scores, labels = known()
    read = []
    for kind, convert in KINDS.items():
        readout = make(name, kind)
        fitted = fit(readout, [(convert(scores.astype(np.float64)).astype(np.float32), labels)])
        read.append(readout.log_probabilities(fitted, convert(answers().astype(np.float64)).astype(np.float32)))
    assert np.allclose(read[0], read[1], atol=1e-3)
    assert np.allclose(read[0], read[2], atol=1e-3)


@pytest.mark.parametrize(("kind", "nothing"), [("probabilities", 0.0), ("log-probabilities", -np.inf)])
def test_impossible_class_is_an_answer_too(name, kind, nothing):
    readout = make(name, kind)
    scores = np.array([[nothing, 0.5, 0.25, 0.25]], np.float32)
    if kind == "log-probabilities":
        scores[:, 1:] = np.log(scores[:, 1:])
    log_p = readout.log_probabilities(readout.init(1), scores)
    assert np.allclose(np.exp(log_p), [1 / 3, 2 / 3, 0], atol=1e-6)
    assert np.isfinite(fit(readout, [(np.stack([scores, scores]), np.array([0, 1]))])).all()


@pytest.mark.parametrize("view", [0, 1])
def test_failed_queries_stay_nan_and_alone(name, view):
    readout, scores = make(name), answers()
    for w in (readout.init(2), weights(readout)):
        whole = readout.log_probabilities(w, scores)
        holed = scores.copy()
        holed[1, 2, view] = np.nan
        read = readout.log_probabilities(w, holed)
        assert np.isnan(read[1, 2]).all()
        read[1, 2] = whole[1, 2]
        assert np.array_equal(read, whole)


def test_large_scores_do_not_overflow(name):
    readout = make(name)
    log_p = readout.log_probabilities(readout.init(1), np.array([[1e6, -1e6, 0, 2e6]], np.float32))
    assert log_p.argmax() == 0
    assert np.isfinite(log_p).all()


def test_fit_to_large_scores_does_not_overflow(name):
    readout, (scores, labels) = make(name), known()
    fitted = fit(readout, [(1e6 * scores, labels)])
    assert np.isfinite(readout.log_probabilities(fitted, 1e6 * scores)).all()


def test_fitted_weights_may_be_sent_as_float32(name):
    readout = make(name)
    w = weights(readout)
    sent = readout.log_probabilities(w.astype(np.float32), answers())
    assert np.allclose(sent, readout.log_probabilities(w, answers()), atol=1e-4)


def test_nothing_changes_its_arguments(name):
    readout, (scores, labels) = make(name), known()
    start, told = weights(readout), []
    copies = start.copy(), scores.copy(), labels.copy()

    def total(w):
        sums = readout.statistics(w, readout.fit_data(scores, labels))
        told.append((sums, sums.copy()))
        return sums

    fitted = readout.fit(start, total)
    readout.log_probabilities(start, scores)
    assert fitted.shape == readout.init(2).shape
    assert fitted.dtype == np.float64
    assert np.array_equal(start, copies[0])
    assert np.array_equal(scores, copies[1])
    assert np.array_equal(labels, copies[2])
    assert all(np.array_equal(sums, copy) for sums, copy in told)


def test_what_is_not_trainable_exchanges_nothing(name):
    readout, exchanges = make(name), []

    def total(w):
        exchanges.append(w)
        return readout.statistics(w, readout.fit_data(*known()))

    readout.fit(readout.init(2), total)
    assert bool(exchanges) == readout.trainable


@pytest.mark.parametrize("trained", [False, True])
def test_fit_without_any_answer_is_survived(name, trained):
    readout, (scores, labels) = make(name), known()
    start = weights(readout) if trained else readout.init(2)
    assert np.array_equal(fit(readout, [(np.full_like(scores, np.nan), labels)], start), start)


def test_client_without_any_answer_changes_nothing(name):
    readout, (scores, labels) = make(name), known()
    silent = np.full_like(scores, np.nan), labels
    assert np.allclose(fit(readout, [silent, known(), silent]), weights(readout), atol=1e-9)


def test_statistics_of_parts_add_up(name):
    readout, (scores, labels) = make(name), known()
    for w in (readout.init(2), weights(readout)):
        parts = [
            readout.statistics(w, readout.fit_data(scores[part], labels[part])) for part in (slice(13), slice(13, None))
        ]
        assert np.allclose(
            np.sum(parts, 0), readout.statistics(w, readout.fit_data(scores, labels)), rtol=1e-9, atol=1e-9
        )


def test_clients_fit_as_one_hand_with_all_their_answers(name):
    readout, (scores, labels) = make(name), known()
    by_class = [(scores[labels == k], labels[labels == k]) for k in range(3)]  # each knows one class only
    assert np.allclose(fit(readout, by_class), fit(readout, [(scores, labels)]), atol=1e-6)


def test_examples_with_a_failed_query_count_for_nothing(name):
    readout, (scores, labels) = make(name), known()
    w, kept = weights(readout), np.delete(np.arange(len(labels)), [1, 4])
    expected = readout.statistics(w, readout.fit_data(scores[kept], labels[kept]))
    scores[1, 0], scores[4] = np.nan, np.nan  # one query of an example, all of another
    assert np.allclose(readout.statistics(w, readout.fit_data(scores, labels)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("views", [1, 3])
def test_fit_lowers_the_loss(name, views):
    readout, (scores, labels) = make(name), known(views)
    before, after = (loss(readout, w, scores, labels) for w in (readout.init(views), weights(readout, views)))
    assert after < 0.6 * before if readout.trainable else after == before


def test_order_of_the_views_does_not_matter(name):
    readout, (scores, labels), order = make(name), known(3), [2, 0, 1]
    for one, other in (
        (readout.init(3), readout.init(3)),
        (fit(readout, [(scores, labels)]), fit(readout, [(scores[:, order], labels)])),
    ):
        expected = readout.log_probabilities(one, answers(3))
        assert np.allclose(readout.log_probabilities(other, answers(3)[:, :, order]), expected, atol=1e-6)

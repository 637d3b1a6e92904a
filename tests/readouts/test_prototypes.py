import numpy as np
import pytest
from scipy.special import log_softmax

from fedbbpt.backend import BackendInfo
from fedbbpt.readouts.prototypes import Prototypes


def prototypes(*classes):
    return Prototypes(BackendInfo("some-model", (8, 8), ("v", "w", "x", "y"), "logits", 8), classes)


def answers(labels, views=2, seed=0):
    noise = np.random.default_rng(seed).normal(size=(len(labels), views, 4))
    return (noise + 2 * np.eye(3, 4)[labels][:, None]).astype(np.float32)


def fit(readout, scores, labels):
    return readout.fit(readout.init(scores.shape[1]), lambda w: readout.statistics(w, readout.fit_data(scores, labels)))


def features(scores):
    """(N, V, C) -> (N, V·C), view by view."""
    views = [(view - view.mean(-1, keepdims=True)) / 2 for view in np.moveaxis(scores.astype(np.float64), 1, 0)]
    return np.concatenate(views, axis=1)


def test_it_has_a_spread_and_a_mean_for_each_class():
    assert prototypes("a", "b", "c").init(2).shape == (1 + 3 * 2 * 4,)


@pytest.mark.parametrize("classes", [("a", "b", "c"), ("w", "v", "x")])  # names count for nothing once it is fitted
@pytest.mark.parametrize("views", [1, 2])
def test_it_is_the_bayes_classifier_of_round_gaussians(views, classes):
    labels = np.array([0, 2, 1, 1, 0, 2, 2, 0, 1, 1])
    scores, new = answers(labels, views), answers(np.array([1, 0, 2]), views, seed=1)
    s = features(scores)
    means = [np.mean([row for row, label in zip(s, labels, strict=True) if label == k], axis=0) for k in range(3)]
    spread = sum(((row - means[label]) ** 2).sum() for row, label in zip(s, labels, strict=True)) / s.size
    logits = [[-((row - mean) ** 2).sum() / (2 * spread) for mean in means] for row in features(new)]
    readout = prototypes(*classes)
    read = readout.log_probabilities(fit(readout, scores, labels), new)
    assert np.allclose(read, log_softmax(logits, -1), atol=1e-5)


def test_the_fit_takes_one_exchange():
    readout, labels, exchanges = prototypes("a", "b", "c"), np.array([0, 1, 2]), []
    readout.fit(
        readout.init(2),
        lambda w: (exchanges.append(w), readout.statistics(w, readout.fit_data(answers(labels), labels)))[1],
    )
    assert len(exchanges) == 1


def test_class_that_nobody_has_stands_in_the_middle():
    readout, labels = prototypes("a", "b", "c"), np.array([0, 0, 0, 1, 0, 1])
    fitted = fit(readout, answers(labels), labels)
    assert np.allclose(fitted[1:].reshape(3, -1)[2], features(answers(labels)).mean(0))
    assert np.isfinite(readout.log_probabilities(fitted, answers(labels))).all()


def test_examples_all_alike_do_not_divide_by_nothing():
    readout, labels = prototypes("a", "b", "c"), np.array([0, 1, 2, 0])
    scores = 4 * np.eye(3, 4)[labels][:, None].astype(np.float32)
    log_p = readout.log_probabilities(fit(readout, scores, labels), scores)
    assert log_p.argmax(1).tolist() == labels.tolist()
    assert np.isfinite(log_p).all()


def test_unknown_classes_start_undecided():
    readout = prototypes("a", "b", "c")
    assert np.allclose(readout.log_probabilities(readout.init(2), answers(np.array([0, 1]))), np.log(1 / 3))

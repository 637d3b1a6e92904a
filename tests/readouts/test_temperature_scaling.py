import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.readouts.temperature_scaling import TemperatureScaling

COLUMNS = [3, 0, 1]  # of the task's classes


def temperature(classes=("y", "a", "b"), **options):
    return TemperatureScaling(BackendInfo("some-model", (8, 8), ("a", "b", "x", "y"), "logits", 8), classes, **options)


def answers(examples=30, views=2):
    return np.random.default_rng(0).normal(0, 1.5, (examples, views, 4)).astype(np.float32)


def logits(scores):
    return (scores - scores.mean(-1, keepdims=True))[..., COLUMNS].mean(-2)


def fit(readout, scores, labels):
    return readout.fit(readout.init(scores.shape[1]), lambda w: readout.statistics(w, readout.fit_data(scores, labels)))


def test_it_has_one_temperature_and_a_bias_for_each_class_whatever_the_views():
    assert temperature().init(1).shape == temperature().init(5).shape == (1 + 3,)


def test_it_stretches_and_shifts_the_named_classes():
    w = np.array([0.5, 1.0, 0.0, -2.0])
    expected = log_softmax(np.exp(0.5) * logits(answers()) + [1, 0, -2], -1)
    assert np.allclose(temperature().log_probabilities(w, answers()), expected, atol=1e-5)


def test_statistics_are_count_and_loss_and_its_gradient():
    readout, labels = temperature(), np.random.default_rng(1).integers(0, 3, 30)
    w, step = np.array([0.5, 1.0, 0.0, -2.0]), 1e-5 * np.eye(4)
    count, loss, *gradient = readout.statistics(w, readout.fit_data(answers(), labels))
    assert count == 30
    log_p = readout.log_probabilities(w, answers())
    assert np.isclose(loss, -sum(row[label] for row, label in zip(log_p, labels, strict=True)))
    losses = [
        [readout.statistics(w + sign * e, readout.fit_data(answers(), labels))[1] for sign in (1, -1)] for e in step
    ]
    assert np.allclose(gradient, [(up - down) / 2e-5 for up, down in losses], atol=1e-5)


@pytest.mark.parametrize("tau", [-1.0, 0.7])
def test_fit_recovers_temperature_and_bias(tau):
    readout, scores, bias = temperature(l2=0), 2 * answers(20000), np.array([1.0, 0.0, -1.0])
    p = softmax(np.exp(tau) * logits(scores) + bias, -1)
    labels = (np.random.default_rng(1).random((len(p), 1)) > p.cumsum(-1)[:, :-1]).sum(-1)
    fitted = fit(readout, scores, labels)
    assert abs(fitted[0] - tau) < 0.06
    assert np.allclose(fitted[1:] - fitted[1:].mean(), bias, atol=0.06)


def test_l2_pulls_to_the_named_classes():
    labels = np.random.default_rng(1).integers(0, 3, 30)
    weak, strong = (np.abs(fit(temperature(l2=l2), answers(), labels)).max() for l2 in (0.005, 1e5))
    assert weak > 0.1
    assert strong < 1e-3


def test_exchanges_are_at_most_the_evaluations():
    readout, labels, asked = temperature(max_evaluations=4), np.random.default_rng(1).integers(0, 3, 30), []
    readout.fit(
        readout.init(2), lambda w: (asked.append(w), readout.statistics(w, readout.fit_data(answers(), labels)))[1]
    )
    assert len(asked) == 4


def test_missing_classes_are_refused_and_the_head_proposed():
    with pytest.raises(ConfigError, match=r"readout 'temperature-scaling' .*--readout linear"):
        temperature(("a", "b", "c"))

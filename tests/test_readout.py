import numpy as np
import pytest

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.readout import Head, Identity, cross_entropy

LABELS = np.array([0, 2, 1, 1, 0])


def info(*classes):
    return BackendInfo("some-model", (8, 8), classes, "logits", 8)


def head(**options):
    """Two of three classes are the model's: no base to start from."""
    return Head(info("a", "b", "x", "y"), ("a", "b", "c"), **options)


def answers(candidates=2):
    return np.random.default_rng(0).normal(0, 2, (candidates, 5, 4)).astype(np.float32)


def loss(readout, weights, scores, labels=LABELS):
    return float(cross_entropy(readout.log_probabilities(weights, scores), labels).mean())


def gradient(function, x, step=1e-5):
    return np.array([(function(x + e) - function(x - e)) / (2 * step) for e in step * np.eye(len(x))])


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("classes", [("a", "b", "c"), ("y", "a", "b")])  # without and with a base
def test_one_step_of_fit_goes_down_the_exact_gradient(classes, decay):
    readout = Head(info("a", "b", "x", "y"), classes, steps=1, decay=decay)
    start = np.random.default_rng(1).normal(size=readout.dim)
    slope = gradient(lambda w: loss(readout, w, answers()) + decay * (w @ w) / 2, start)
    step = start - readout.fit(start, answers(), LABELS)
    assert np.allclose(step, (step @ slope) / (slope @ slope) * slope, atol=1e-8)
    assert step @ slope > 0


def test_step_is_the_learning_rate_over_a_bound_of_the_curvature():
    readout = head(steps=1, learning_rate=0.7)
    start = np.random.default_rng(1).normal(size=readout.dim)
    slope = gradient(lambda w: loss(readout, w, answers()), start)
    s = answers() - answers().mean(-1, keepdims=True)
    bound = ((s**2).sum(-1).mean() / 4 + 1) / 2
    assert np.allclose(start - readout.fit(start, answers(), LABELS), 0.7 / bound * slope, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_every_step_lowers_what_is_minimised_at_any_scale(scale, decay):
    readout, scores = head(steps=1, decay=decay), scale * answers()
    weights = np.random.default_rng(1).normal(size=readout.dim)
    worth = []
    for _ in range(30):
        worth.append(loss(readout, weights, scores) + decay * (weights @ weights) / 2)
        weights = readout.fit(weights, scores, LABELS)
    assert worth[-1] < worth[0]
    assert np.diff(worth).max() < 1e-9 * worth[0]  # no step up, but for rounding


def test_steps_follow_each_other():
    once, thrice = head(steps=1), head(steps=3)
    weights = once.init()
    for _ in range(3):
        weights = once.fit(weights, answers(), LABELS)
    assert np.array_equal(thrice.fit(thrice.init(), answers(), LABELS), weights)


def test_no_steps_change_nothing():
    readout = head(steps=0)
    assert not readout.fit(readout.init(), answers(), LABELS).any()


def test_fit_lowers_the_loss():
    readout = head(steps=300)
    fitted = readout.fit(readout.init(), answers(), LABELS)
    assert loss(readout, fitted, answers()) < 0.8 * loss(readout, readout.init(), answers())


def test_fit_leaves_failed_queries_out():
    readout, scores = head(), answers(1)
    holed = scores.copy()
    holed[0, [1, 3]] = np.nan
    kept = [0, 2, 4]
    expected = readout.fit(readout.init(), scores[:, kept], LABELS[kept])
    assert np.allclose(readout.fit(readout.init(), holed, LABELS), expected)


def test_head_of_unknown_classes_starts_undecided():
    readout = head()
    assert np.allclose(readout.log_probabilities(readout.init(), answers()), np.log(1 / 3))


def test_head_has_a_matrix_and_a_bias():
    assert head().dim == 3 * 4 + 3


def test_identity_refuses_missing_classes_and_proposes_the_head():
    with pytest.raises(ConfigError, match="--readout head") as e:
        Identity(info("a", "b"), ("a", "b", "c"))
    assert "some-model" in str(e.value)


def test_long_lists_of_classes_are_cut_short():
    with pytest.raises(ConfigError, match=r"1000 classes \(0, 1, 2, 3, …\)"):
        Identity(info(*map(str, range(1000))), ("a", "b"))


def test_cross_entropy_picks_the_true_class():
    log_p = np.log([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]])
    assert np.allclose(cross_entropy(log_p, np.array([1, 2])), [[np.log(4), -np.log(0.7)]])

"""What clients tell of folds, beside one party that has all the answers."""

import zlib

import numpy as np
import pytest

from fedbbpt.algorithms import CrossValidated
from fedbbpt.algorithms.cross_validation import FOLDS, NUM_FOLDS, statistics
from fedbbpt.algorithms.readout_fit import HANDLER, empty_statistics, fit, folded_fit
from fedbbpt.backend import BackendInfo
from fedbbpt.readouts.class_moments import class_moments
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Message

MODEL = ("a", "b", "x", "y")
CLIENTS = ("north", "south", "east")
MESSAGE = Message(1, 0, {})


@pytest.fixture
def readout():
    return LinearReadout(BackendInfo("m", (8, 8), MODEL, "logits", 8), ("y", "a", "b"))


def answers(help_=1.5, examples=90, seed=0):
    """Scores (N, 1, C) that tell as much of the labels, but not by the classes' names."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, examples)
    scores = rng.normal(0, 1, (examples, 1, len(MODEL))) + help_ * np.eye(3, len(MODEL))[labels][:, None]
    return scores.astype(np.float32), labels


@pytest.fixture
def federation(readout):
    """`federation(scores, labels)`: a `send` to three clients, and the list of what was sent."""

    def of(scores, labels):
        sent = []

        def send(handler, message):
            assert handler == HANDLER
            sent.append(message)
            shares = [slice(0, 40), slice(40, 45), slice(45, None)]
            data = [readout.fit_data(scores[share], labels[share]) for share in shares]
            return [statistics(readout, message, own, name) for own, name in zip(data, CLIENTS, strict=True)]

        return send, sent

    return of


def message(**parts):
    return MESSAGE.having(**parts)


def test_moments_of_folds_are_those_of_half_the_examples_of_each_class(readout):
    scores, labels = answers()
    data = readout.fit_data(scores, labels)
    folds = statistics(readout, message(readout=np.zeros((2, 0))), data, "north").values.reshape(2, -1)
    assert np.allclose(folds.sum(0), class_moments(data.features, labels, 3), rtol=1e-5)
    counts = folds[:, :3]
    assert (abs(counts[0] - counts[1]) <= 1).all()
    assert abs(counts[0].sum() - counts[1].sum()) <= 1


def test_clients_with_one_example_are_not_all_in_the_same_fold(readout):
    data = readout.fit_data(*(part[:1] for part in answers()))
    firsts = {
        int(statistics(readout, message(readout=np.zeros((2, 0))), data, f"site-{i}").values[:3].sum())
        for i in range(9)
    }
    assert firsts == {0, 1}


def test_a_folded_fit_is_the_plain_one_in_as_many_exchanges(readout, federation):
    (send, sent), (plain_send, plainly_sent) = federation(*answers()), federation(*answers())
    folded = folded_fit(readout, readout.init(1), send, MESSAGE)
    plain = fit(readout, readout.init(1), plain_send, MESSAGE)
    assert np.allclose(folded.weights, plain, atol=1e-4)
    assert folded.fold_weights.shape == (NUM_FOLDS, len(plain))
    assert len(sent) == len(plainly_sent)


def test_each_fold_is_read_by_weights_that_have_not_seen_it(readout, federation):
    """Counted one example after the other."""
    scores, labels = answers()
    send, _ = federation(scores, labels)
    folds = folded_fit(readout, readout.init(1), send, MESSAGE).fold_weights
    counts = sum(reply.values for reply in send(HANDLER, message(readout=folds)))
    gained = lost = 0
    for name, share in zip(CLIENTS, (range(40), range(40, 45), range(45, 90)), strict=True):
        for place, i in enumerate(sorted(share, key=lambda i: (labels[i], i))):
            unseen = folds[(place + zlib.crc32(name.encode())) % 2]
            after, before = (readout.log_probabilities(w, scores[i]).argmax() for w in (unseen, readout.init(1)))
            gained += after == labels[i] != before
            lost += before == labels[i] != after
    assert counts.tolist() == [90, gained, lost]
    assert CrossValidated(90, gained, lost).shows_gain(0, 0, 0.5)


def test_labels_by_chance_show_no_gain_over_a_model_that_knows(readout, federation):
    """Scores that name the right class most of the time, and a readout fitted to labels of few examples."""
    gains = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, 24)
        named = np.array([3, 0, 1])[labels]
        scores = (rng.normal(0, 1, (24, 1, 4)) + 2 * np.eye(4)[named][:, None]).astype(np.float32)
        send, _ = federation(scores, labels)
        folds = folded_fit(readout, readout.init(1), send, MESSAGE).fold_weights
        counts = sum(reply.values for reply in send(HANDLER, message(readout=folds)))
        gains.append(CrossValidated(*map(int, counts)).shows_gain(0, 0, 0.5) and counts[1] > counts[2])
    assert sum(gains) <= 4


def test_both_parts_of_a_message_are_answered_one_behind_the_other(readout):
    data, weights = readout.fit_data(*answers()), readout.init(1)
    both = statistics(readout, message(readout=weights, folds=np.stack([weights] * 2)), data, "north").values
    alone = statistics(readout, message(readout=weights), data, "north").values
    assert np.array_equal(both[:-3], alone)
    assert both[-3:].tolist() == [90, 0, 0]  # untrained weights are the untrained ones


@pytest.mark.parametrize("parts", [{"readout": (2, 0)}, {"readout": (15,)}, {"readout": (15,), FOLDS: (2, 15)}])
def test_a_client_without_data_replies_in_the_same_shape(readout, parts):
    asked = message(**{name: np.zeros(shape) for name, shape in parts.items()})
    empty = empty_statistics(readout, asked, np.zeros((0, 1, 4), np.float32)).values
    full = statistics(readout, asked, readout.fit_data(*answers()), "north").values
    assert (empty.shape, empty.dtype) == (full.shape, full.dtype)
    assert not empty.any()


def test_a_fold_without_any_example_is_left_to_an_untrained_readout(readout, federation):
    scores, labels = answers(examples=90)
    send, _ = federation(np.full_like(scores, np.nan), labels)
    assert not folded_fit(readout, readout.init(1), send, MESSAGE).fold_weights.any()

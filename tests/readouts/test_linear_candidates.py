"""What a linear readout tells of prompts that it does not read yet."""

import numpy as np

from tests.readouts.linear_answers import MODEL, NAMED, UNKNOWN, answers, fit, further, head, slope, some_weights, worth


def test_slopes_are_gradient_and_squares_of_each_further_view():
    readout, (scores, labels), more = head(), answers(), further()
    w = some_weights(readout)
    slopes = readout.candidate_statistics(w, scores, more, labels)
    assert slopes.shape == (3, 3 * 4 + 1)
    for view, slope_of_view in zip(more, slopes, strict=True):
        longer = np.concatenate([scores, view[:, None]], axis=1)

        def loss(part, longer=longer):
            v = readout.resized(w, insert=2)
            v[:-3].reshape(3, 3, 4)[:, 2] = part.reshape(3, 4)
            return readout.statistics(v, readout.fit_data(longer, labels))[1]

        assert np.allclose(slope_of_view[:-1], slope(loss, np.zeros(3 * 4)), atol=1e-4)
        assert np.isclose(slope_of_view[-1], ((view - view.mean(-1, keepdims=True)) ** 2).sum() / 4)


def test_slopes_of_parts_add_up():
    readout, (scores, labels), more = head(NAMED), answers(), further()
    w = some_weights(readout)
    parts = [
        readout.candidate_statistics(w, scores[part], more[:, part], labels[part])
        for part in (slice(11), slice(11, None))
    ]
    assert np.allclose(np.sum(parts, 0), readout.candidate_statistics(w, scores, more, labels), rtol=1e-9, atol=1e-9)


def test_gains_find_the_view_that_explains_the_errors():
    readout, (scores, labels), more = head(), answers(1, examples=120), further(8, examples=120)
    more[5] += 1.5 * np.eye(3, len(MODEL))[labels]
    gains = readout.candidate_gains(readout.candidate_statistics(fit(readout, scores, labels), scores, more, labels), 2)
    assert gains.shape == (8,)
    assert gains.argmax() == 5
    assert gains[5] > 3 * np.sort(gains)[-2]


def test_gains_do_not_grow_with_the_scores():
    readout, (scores, labels), more = head(), answers(), further()
    w = some_weights(readout)
    expected = readout.candidate_gains(readout.candidate_statistics(w, scores, more, labels), 2)
    assert np.allclose(readout.candidate_gains(readout.candidate_statistics(w, scores, 8 * more, labels), 2), expected)


def test_a_known_view_explains_nothing_more():
    readout, (scores, labels), more = head(l2=1e-6, max_evaluations=300), answers(2, examples=120), further(1, 120)
    w, both = fit(readout, scores, labels), np.stack([scores[:, 0], more[0]])
    known, new = readout.candidate_gains(readout.candidate_statistics(w, scores, both, labels), 2)
    assert known < 1e-2 * new


def test_a_silent_view_has_no_gain_and_leaves_the_others_theirs():
    readout, (scores, labels), more = head(), answers(), further()
    w = some_weights(readout)
    expected = readout.candidate_gains(readout.candidate_statistics(w, scores, more, labels), 2)
    more[1] = np.nan
    gains = readout.candidate_gains(readout.candidate_statistics(w, scores, more, labels), 2)
    assert np.isnan(gains[1])
    assert np.allclose(gains[[0, 2]], expected[[0, 2]])


def test_a_view_that_is_silent_for_one_client_has_no_gain():
    readout, (scores, labels), more = head(), answers(), further()
    more[2, :10] = np.nan
    w, parts = some_weights(readout), (slice(10), slice(10, None))
    slopes = np.sum([readout.candidate_statistics(w, scores[part], more[:, part], labels[part]) for part in parts], 0)
    assert np.isnan(readout.candidate_gains(slopes, 2)).tolist() == [False, False, True]


def test_views_are_compared_on_what_all_of_them_answered():
    readout, (scores, labels), more = head(), answers(), further()
    w, kept = some_weights(readout), np.delete(np.arange(30), [2, 7, 9])
    expected = readout.candidate_statistics(w, scores[kept], more[:, kept], labels[kept])
    more[0, 2], more[1, 7], scores[9, 1] = np.nan, np.nan, np.nan
    assert np.allclose(readout.candidate_statistics(w, scores, more, labels), expected)


NOTHING = np.zeros((120, 0, len(MODEL)), np.float32)  # answers to no selected prompt


def alone(readout, more, labels, part=slice(None)):
    return readout.candidate_statistics(readout.init(0), NOTHING[part], more[:, part], labels[part])


def test_alone_the_gain_is_minus_the_loss_of_a_fit():
    readout, (_, labels), more = head(l2=0.01, max_evaluations=100), answers(1, examples=120), further(6, 120)
    more += np.linspace(0, 2, 6)[:, None, None] * np.eye(3, len(MODEL))[labels]
    losses = [worth(fit(readout, view[:, None], labels), view[:, None], labels, UNKNOWN, 0.01) for view in more]
    gains = readout.candidate_gains(alone(readout, more, labels), 0)
    assert np.array_equal(np.argsort(gains), np.argsort(losses)[::-1])
    assert np.allclose(gains, np.negative(losses), atol=0.02)  # virtual examples have the moments, no more


def test_alone_parts_add_up_and_a_silent_view_has_no_gain():
    readout, (_, labels), more = head(), answers(1, examples=120), further(3, 120)
    parts = [alone(readout, more, labels, part) for part in (slice(50), slice(50, None))]
    assert np.allclose(np.sum(parts, 0), alone(readout, more, labels))
    expected = readout.candidate_gains(alone(readout, more, labels), 0)
    more[1] = np.nan
    gains = readout.candidate_gains(alone(readout, more, labels), 0)
    assert np.isnan(gains).tolist() == [False, True, False]
    assert np.allclose(gains[[0, 2]], expected[[0, 2]])
    more[:] = np.nan
    assert np.isnan(readout.candidate_gains(alone(readout, more, labels), 0)).all()

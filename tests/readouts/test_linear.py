import numpy as np
import pytest
from scipy.optimize import minimize

from tests.readouts.linear_answers import NAMED, UNKNOWN, answers, fit, further, head, slope, some_weights, worth


def test_head_has_a_matrix_and_a_bias():
    assert head().init(1).shape == (3 * 4 + 3,)
    assert head().init(2).shape == (3 * 2 * 4 + 3,)


def test_head_of_unknown_classes_starts_undecided():
    readout = head()
    assert np.allclose(readout.log_probabilities(readout.init(2), answers()[0]), np.log(1 / 3))


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("classes", [UNKNOWN, NAMED])
def test_statistics_are_count_and_loss_and_its_gradient(classes, views):
    readout, (scores, labels) = head(classes), answers(views)
    w = some_weights(readout, views)
    count, loss, *gradient = readout.statistics(w, readout.fit_data(scores, labels))
    assert count == 30
    assert np.isclose(loss, 30 * worth(w, scores, labels, classes, 0))
    assert np.allclose(gradient, slope(lambda v: 30 * worth(v, scores, labels, classes, 0), w), atol=1e-5)


@pytest.mark.parametrize("l2", [0.005, 0.2])
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("classes", [UNKNOWN, NAMED])
def test_fit_finds_the_minimum(classes, views, l2):
    readout, (scores, labels) = head(classes, l2=l2), answers(views)
    terms = scores, labels, classes, l2 * views**0.5
    expected = minimize(worth, np.zeros(readout.init(views).shape), terms, method="BFGS").fun
    assert abs(worth(fit(readout, scores, labels), *terms) - expected) < 1e-3
    assert worth(readout.init(views), *terms) > expected + 0.01  # the start would not have done


def test_fit_finds_the_same_minimum_from_elsewhere():
    readout, (scores, labels) = head(), answers()
    fitted = fit(readout, scores, labels, some_weights(readout))
    here, there = (worth(w, scores, labels, UNKNOWN, 0.008) for w in (fit(readout, scores, labels), fitted))
    assert abs(here - there) < 1e-3


def test_equal_views_are_read_as_one_of_them():
    (scores, labels), readout = answers(1), head(max_evaluations=300)
    twice = np.repeat(scores, 2, axis=1)
    once, doubled = (fit(readout, s, labels) for s in (scores, twice))
    read = [readout.log_probabilities(w, s) for w, s in ((once, scores), (doubled, twice))]
    np.testing.assert_allclose(read[0], read[1], atol=0.05)


def test_l2_pulls_to_the_base():
    scores, labels = answers()
    untrained = head(NAMED).log_probabilities(head(NAMED).init(2), scores)
    far = []
    for l2 in (1e-3, 1e-1, 10, 1e5):
        readout = head(NAMED, l2=l2)
        far.append(np.abs(readout.log_probabilities(fit(readout, scores, labels), scores) - untrained).max())
    assert far == sorted(far, reverse=True)
    assert far[0] > 1
    assert far[-1] < 1e-3


@pytest.mark.parametrize("max_evaluations", [1, 2, 5, 30])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_exchanges_are_one_for_moments_and_at_most_the_evaluations(max_evaluations, seed):
    readout, (scores, labels), asked = head(l2=1e-4, max_evaluations=max_evaluations), answers(seed=seed), []

    def total(w):  # with the digits that are sent
        asked.append(w)
        return (
            readout.statistics(w.astype(np.float32), readout.fit_data(scores, labels))
            .astype(np.float32)
            .astype(np.float64)
        )

    readout.fit(some_weights(readout), total)
    assert [len(w) for w in asked] == [0] + [27] * (len(asked) - 1)
    assert 2 <= len(asked) <= 1 + max_evaluations


@pytest.mark.parametrize("classes", [UNKNOWN, NAMED])
@pytest.mark.parametrize("views", [1, 2])
def test_four_evaluations_find_the_minimum_to_four_digits(classes, views):
    readout, (scores, labels) = head(classes, max_evaluations=4), answers(views, examples=60)
    terms = scores, labels, classes, 0.004 * views**0.5
    least = minimize(worth, np.zeros(readout.init(views).shape), terms, method="BFGS").fun
    assert worth(fit(readout, scores, labels), *terms) - least < 1e-4


@pytest.mark.parametrize("max_evaluations", [2, 3, 4])
def test_fit_keeps_the_best_of_what_was_asked(max_evaluations):
    readout, (scores, labels), asked = head(max_evaluations=max_evaluations), answers(), []
    scores = 100 * scores  # so that steps go too far

    def total(w):
        asked.append(w.copy())
        return readout.statistics(w, readout.fit_data(scores, labels))

    fitted = readout.fit(readout.init(2), total)
    losses = [worth(w, scores, labels, UNKNOWN, 0.004 * 2**0.5) for w in asked[1:]]
    assert np.isclose(worth(fitted, scores, labels, UNKNOWN, 0.004 * 2**0.5), min(losses))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_view_is_removed_with_its_answers(place):
    readout, (scores, _) = head(), answers(3)
    w = some_weights(readout, 3)
    expected = np.concatenate([np.delete(w[:-3].reshape(3, 3, 4), place, axis=1).ravel(), w[-3:]])
    assert np.array_equal(readout.resized(w, remove=place), expected)
    left = np.delete(np.arange(3), place)
    w.reshape(-1)[:-3].reshape(3, 3, 4)[:, place] = 0  # a view that says nothing may as well be away
    shorter = readout.log_probabilities(readout.resized(w, remove=place), scores[:, left])
    assert np.allclose(shorter, readout.log_probabilities(w, scores))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_inserted_view_says_nothing_yet(place):
    readout, (scores, _) = head(), answers()
    w = some_weights(readout)
    longer = readout.resized(w, insert=place)
    more = np.insert(scores, place, further(1)[0], axis=1)
    assert longer.shape == readout.init(3).shape
    assert np.allclose(readout.log_probabilities(longer, more), readout.log_probabilities(w, scores))


def test_removing_comes_before_inserting():
    readout = head()
    w = some_weights(readout, 3)
    expected = readout.resized(readout.resized(w, remove=0), insert=2)
    assert np.array_equal(readout.resized(w, remove=0, insert=2), expected)
    assert np.array_equal(readout.resized(expected, remove=2), readout.resized(w, remove=0))
    assert np.array_equal(readout.resized(w), w)

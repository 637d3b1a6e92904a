import numpy as np
import pytest

from fedbbpt.backend import BackendInfo
from fedbbpt.errors import ConfigError
from fedbbpt.readouts.label_map import LabelMap


def label_map(task, model="vwxyz", **options):
    """Classes are single letters."""
    return LabelMap(BackendInfo("some-model", (8, 8), tuple(model), "logits", 8), tuple(task), **options)


def seen(*columns, inputs=5, rest=0.0):
    """Answers (N, 1, C) that are surest of these classes of the model."""
    return (4 * np.eye(inputs)[list(columns)] + rest)[:, None].astype(np.float32)


def fit(readout, scores, labels, start=None):
    start = readout.init(scores.shape[1]) if start is None else start
    return readout.fit(start, lambda w: readout.statistics(w, readout.fit_data(scores, np.array(labels))))


@pytest.mark.parametrize("task", ["abcde", "vwxyz"])  # without and with a map by name
def test_fit_recovers_what_the_classes_were_taken_for(task):
    rng, planted = np.random.default_rng(0), np.array([2, 4, 0, 1, 3])
    labels = np.concatenate([np.arange(5), rng.integers(0, 5, 200)])
    scores = 3 * np.eye(5)[planted[labels]][:, None] + rng.normal(size=(205, 2, 5))  # two noisy views
    assert fit(label_map(task), scores.astype(np.float32), labels).tolist() == planted.tolist()


def test_it_reads_the_chosen_classes():
    scores = np.log([[[0.1, 0.2, 0.3, 0.15, 0.25]]]).astype(np.float32)
    read = label_map("ab").log_probabilities(np.array([2.0, 0.0]), scores)
    assert np.allclose(np.exp(read), [[0.75, 0.25]])


def test_each_of_the_models_classes_stands_for_one_class_only():
    scores, labels = seen(0, 0, 0, 1, 0, 0, 2), [0, 0, 0, 0, 1, 1, 1]  # both are taken for 0 most often
    assert fit(label_map("ab"), scores, labels).tolist() == [0, 2]


def test_more_frequent_pairs_come_first_whatever_the_order_of_the_classes():
    scores, labels = seen(0, 0, 0, 1, 0, 0, 2), [1, 1, 1, 1, 0, 0, 0]
    assert fit(label_map("ab"), scores, labels).tolist() == [2, 0]


@pytest.mark.parametrize("likelier", [1, 3])
def test_ties_go_to_the_likelier(likelier):
    scores = seen(1, 3)
    scores[..., likelier] += 1  # by probability, not by count: the other example still is of the other class
    assert fit(label_map("a"), scores, [0, 0]).tolist() == [likelier]


def test_probabilities_never_outweigh_a_count():
    scores = seen(1, 3, 3)
    scores[0] *= 10
    scores[1:] *= 0.05
    assert fit(label_map("a"), scores, [0, 0, 0]).tolist() == [3]


def test_class_that_nobody_has_is_given_what_is_left():
    chosen = fit(label_map("abc", "xyz"), seen(2, 0, inputs=3), [0, 2])
    assert chosen.tolist() == [2, 1, 0]


def test_several_of_the_models_classes_for_each():
    readout = label_map("ab", per_class=2)
    scores, labels = seen(4, 4, 4, 1, 1, 0, 0, 2, 4), [0, 0, 0, 0, 0, 1, 1, 1, 1]
    chosen = fit(readout, scores, labels)
    assert chosen.tolist() == [4, 1, 0, 2]
    p = np.array([[0.1, 0.2, 0.3, 0.15, 0.25]])
    expected = np.sqrt([0.25 * 0.2, 0.1 * 0.3])
    read = readout.log_probabilities(chosen, np.log(p).astype(np.float32))
    assert np.allclose(np.exp(read), expected / expected.sum())


def test_second_choice_never_takes_what_another_has_first():
    scores, labels = seen(0, 0, 0, 1, 1, 1), [0, 0, 0, 0, 1, 1]  # a would like 1 beside 0, but b has it
    chosen = fit(label_map("ab", per_class=2), scores, labels)
    assert (chosen[0], chosen[2]) == (0, 1)
    assert len(set(chosen)) == 4


def test_first_choice_stays_unless_it_is_iterative():
    first, later, labels = seen(0, 1), seen(3, 2), [0, 1]
    for iterative, expected in ((True, [3, 2]), (False, [0, 1])):
        readout, exchanges = label_map("ab", iterative=iterative), []
        start = fit(readout, first, labels)
        assert start.tolist() == [0, 1]

        def total(w, readout=readout, exchanges=exchanges):
            exchanges.append(w)
            return readout.statistics(w, readout.fit_data(later, np.array(labels)))

        assert readout.fit(start, total).tolist() == expected
        assert len(exchanges) == iterative


@pytest.mark.parametrize(("task", "per_class"), [("abcdef", 1), ("abc", 2)])
def test_too_few_classes_are_refused_and_the_head_proposed(task, per_class):
    with pytest.raises(ConfigError, match=r"needs 6 classes of some-model .* scores 5; use --readout linear"):
        label_map(task, per_class=per_class)


def test_exactly_enough_classes_do():
    assert sorted(fit(label_map("abcde"), seen(2), [0])) == [0, 1, 2, 3, 4]


def test_undecided_is_uniform():
    readout = label_map("ab")
    assert np.allclose(readout.log_probabilities(readout.init(1), seen(0, 3, 4)), np.log(1 / 2))


def test_undecided_names_the_failed_queries_all_the_same():
    readout, scores = label_map("ab"), seen(0, 3)
    scores[1] = np.nan
    assert np.isnan(readout.log_probabilities(readout.init(1), scores)).tolist() == [[False, False], [True, True]]


def test_views_are_averaged_before_the_surest_is_taken():
    scores = np.zeros((1, 3, 5), np.float32)
    scores[0, 0, 1], scores[0, 1:, 2] = 5, 3  # 1 is surest in a single view, 2 on the whole
    assert fit(label_map("a"), scores, [0]).tolist() == [2]

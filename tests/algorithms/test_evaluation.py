"""The score of a client's data: confusion matrix, loss, and what it cost."""

from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.types import Usage

SIZE = (8, 8)


def test_score_counts_true_by_predicted_class(make, score, fake_backend, make_client):
    client = make_client()
    one = score(make(fake_backend, prompt=NoPrompt(SIZE), readout=Identity), client)
    predicted = fake_backend.query(client.test.batch(slice(None)).inputs).scores.argmax(1)
    expected = np.zeros((3, 3), np.int64)
    for truth, guess in zip(client.test.labels, predicted, strict=True):
        expected[truth, guess] += 1
    assert np.array_equal(one.confusion, expected)
    assert (one.client, one.unanswered) == (client.id, 0)


@pytest.mark.parametrize("limit", [1, 2, 9, 100])
def test_score_does_not_depend_on_the_batch_limit(make, score, make_backend, fake_backend, make_client, limit):
    client = make_client()
    one, expected = (score(make(backend), client) for backend in (make_backend(max_batch=limit), fake_backend))
    assert np.array_equal(one.confusion, expected.confusion)
    assert one.loss_sum == pytest.approx(expected.loss_sum)
    assert one.usage == Usage(9, -(-9 // limit))


def test_failed_queries_are_counted_and_left_out_of_the_score(make, score, make_backend, make_client):
    client = make_client()
    lost = client.test.batch(slice(2, 4)).inputs
    backend = make_backend(fails=lambda inputs: np.array([any(np.array_equal(x, y) for y in lost) for x in inputs]))
    one = score(make(backend, prompt=NoPrompt(SIZE)), client)
    assert one.unanswered == 2
    assert one.confusion.sum() == 7
    assert np.isfinite(one.loss_sum)


def test_score_of_an_empty_subset_asks_nothing(make, score, fake_backend, make_client):
    client = make_client()
    empty = replace(client, test=client.test.take(np.zeros(0, np.int64)))
    one = score(make(fake_backend), empty)
    assert one.usage == Usage(0, 0)
    assert one.confusion.sum() == one.loss_sum == one.unanswered == 0


def test_a_message_to_evaluate_has_to_name_a_subset(make, context_of, fake_backend, make_client):
    algorithm = make(fake_backend)
    with pytest.raises(ValueError, match="has no subset"):
        algorithm.handlers["evaluate"](algorithm.broadcast(algorithm.init()), context_of(algorithm, make_client()))

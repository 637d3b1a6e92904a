"""Answers come in the order of the inputs, and are asked for once."""

import numpy as np
import pytest

from fedbbpt.data.texts import as_texts
from fedbbpt.services.ledger import Account, BilledUsage


@pytest.mark.parametrize("limit", [1, 3, 10, 100])
def test_answers_come_in_the_order_of_the_inputs(service_client, make_service, texts, expected, limit):
    service = make_service(limit, seconds=0.002)
    answers = service_client(service, concurrency=3).query(texts)
    assert answers.scores.tolist() == expected
    assert answers.scores.dtype == np.float32
    assert (answers.tokens, answers.output_tokens) == (sum(len(t) + 1 for t in texts), len(texts))
    assert max(map(len, service.sent)) == min(limit, len(texts))
    assert len(service.sent) == -(-len(texts) // limit)


def test_an_answer_is_asked_for_once(service_client, make_service):
    service = make_service(2)
    client = service_client(service)
    repeated = as_texts(["a", "b", "a", "a"])
    assert client.query(repeated).scores.tolist() == [[1, 1]] * 4
    again = service_client(service).query(repeated)  # as another process would
    assert service.asked == {"a": 1, "b": 1}
    assert again.tokens == 4 * 2
    assert client.billed() == BilledUsage(2, 1, 4, 2, 2 * 3000)


def test_answers_belong_to_the_service_with_its_options(service_client, make_service, texts):
    service, other = make_service(), make_service()
    other.identity = {"name": "fake", "options": 2}
    for one in (service, other):
        service_client(one).query(texts[:1])
    assert service.asked == other.asked == {texts[0]: 1}


def test_sampled_answers_belong_to_their_query_in_the_run(service_client, make_service):
    service = make_service()
    same = as_texts(["a", "a"])
    client = service_client(service, sampled=True)
    client.query(same)
    client.query(same)
    assert service.asked == {"a": 4}
    again = service_client(service, sampled=True)
    again.query(same)  # a resumed run asks for nothing twice
    again.query_index = 4
    again.query(same)
    assert service.asked == {"a": 6}
    again.bill_to(Account("another run"))
    again.query(same)
    assert service.asked == {"a": 8}


def test_answers_are_on_disk_before_they_are_used(service_client, make_service, texts, expected):
    service = make_service()
    service.fail(KeyboardInterrupt, when=lambda number, encoded: number == 6)
    with pytest.raises(KeyboardInterrupt):
        service_client(service, concurrency=1).query(texts)
    service.recover()
    assert service_client(service).query(texts).scores.tolist() == expected
    assert set(service.asked.values()) == {1}

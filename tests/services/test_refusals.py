"""A service that refuses: one input, or everybody."""

import numpy as np
import pytest

from fedbbpt.data.texts import as_texts
from fedbbpt.services import NO_SCORES, RequestFailed, RequestRejected
from fedbbpt.services.ledger import Budget
from fedbbpt.services.refusals import MAX_SUSPECTED, MAX_SUSPECTED_AT_START, RefusalTracker

TEXTS = as_texts([f"{i} {'bad' if i in (1, 5) else 'good'}" for i in range(8)])
LATER = as_texts(["8 good"])
MANY = as_texts([f"bad {i}" for i in range(MAX_SUSPECTED)])


@pytest.fixture
def picky(make_service):
    """`picky(limit, about_input)`: a service that does not take what holds "bad"."""

    def make_picky(limit=1, about_input=False):
        service = make_service(limit)
        error = RequestRejected("the service refuses (HTTP 400): no such words", about_input)
        service.fail(error, when=lambda number, encoded: any("bad" in one for one in encoded))
        return service

    return make_picky


@pytest.mark.parametrize("limit", [1, 3, 8])
@pytest.mark.parametrize("about_input", [False, True])
def test_a_refused_input_is_a_row_of_nan_and_not_asked_again(service_client, picky, limit, about_input):
    service = picky(limit, about_input)
    client = service_client(service)
    expected = np.array([[len(text), 1] for text in TEXTS], np.float32)
    expected[[1, 5]] = np.nan
    np.testing.assert_array_equal(client.query(TEXTS).scores, expected)
    client.query(LATER)  # whatever came last, it was not the service that refused everybody
    assert sum(client.refusals.counts.values()) == 2
    assert sorted(service.asked.values()) == [1] * 7
    sent = len(service.sent)
    for again in (client, service_client(service)):  # as a run that goes on would
        np.testing.assert_array_equal(again.query(TEXTS).scores, expected)
    assert len(service.sent) == sent
    assert (client.billed().queries, client.billed().cost) == (7, 7 * (6 + 2) * 1000)


def test_a_service_that_refuses_everybody_is_quoted(service_client, picky):
    service = picky()
    with pytest.raises(RequestRejected, match="no such words"):
        service_client(service).query(MANY[:2])
    with pytest.raises(RequestRejected, match="no such words"):
        service_client(service).query(MANY)
    assert len(service.sent) <= 2 + 2 * MAX_SUSPECTED_AT_START
    service.recover()
    assert not np.isnan(service_client(service).query(MANY).scores).any()  # no refusal was stored


def test_also_if_it_has_answered_before(service_client, picky):
    client = service_client(picky())
    client.query(TEXTS)
    assert np.isnan(client.query(MANY[:-1]).scores).all()
    with pytest.raises(RequestRejected, match="no such words"):
        client.query(MANY[-1:])


def test_an_input_that_the_service_names_as_the_reason_proves_nothing_about_others(service_client, picky):
    client = service_client(picky(about_input=True))
    assert np.isnan(client.query(MANY).scores).all()
    assert client.refusals.counts == {"the service refuses (HTTP 400): no such words": len(MANY)}


def test_what_is_refused_costs_nothing(service_client, picky):
    client = service_client(picky(), Budget(requests=6, queries=6))
    assert np.isnan(client.query(TEXTS).scores).any(1).sum() == 2


def test_an_answer_without_scores_is_paid_for_once(service_client, make_service):
    service = make_service(2)
    unscored = NO_SCORES._replace(tokens=5, output_tokens=1)
    service.trouble = lambda number, encoded: [unscored if "bad" in one else service.reply(one) for one in encoded]
    for _ in range(2):
        client = service_client(service, concurrency=1)
        assert np.isnan(client.query(TEXTS).scores).any(1).tolist() == ["bad" in text for text in TEXTS]
    assert len(service.sent) == 4
    assert client.billed().tokens == 2 * 5 + 6 * 7


def test_the_last_error_is_remembered(service_client, make_service):
    service = make_service()
    service.fail(RequestFailed("HTTP 500"))
    client = service_client(service, retries=0)
    client.query(TEXTS[:1])
    assert client.refusals.last_error == "HTTP 500"


def test_doubtful_inputs_are_settled_by_the_next_answer():
    tracker = RefusalTracker()
    assert tracker.refuse(b"a", RequestRejected("no")) == []
    assert list(tracker.suspected) == [b"a"]
    assert tracker.answer() == [b"a"]
    assert not tracker.suspected
    tracker.check(done=True)

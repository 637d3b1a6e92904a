"""A service that refuses: one input, or everybody."""

import numpy as np
import pytest

from fedbbpt.data.texts import as_texts
from fedbbpt.services import NO_SCORES, Lost, Refused
from fedbbpt.services.client import Desk
from fedbbpt.services.ledger import Account, Limits
from fedbbpt.services.prices import Price
from fedbbpt.services.refusals import FIRST_REFUSED, MOST_REFUSED, Trouble

TEXTS = as_texts([f"{i} {'bad' if i in (1, 5) else 'good'}" for i in range(8)])
LATER = as_texts(["8 good"])
MANY = as_texts([f"bad {i}" for i in range(MOST_REFUSED)])


def make(service, account=Account("a run"), **options):  # noqa: B008
    desk = Desk(service, **{"width": 2, "concurrency": 2, "price": Price(1.0, 2.0)} | options)
    desk.charge(account)
    return desk


@pytest.fixture
def picky(make_service):
    """`picky(limit, about_input)`: a service that does not take what holds "bad"."""

    def make_picky(limit=1, about_input=False):
        service = make_service(limit)

        def refuse(number, encoded):
            if any("bad" in one for one in encoded):
                raise Refused("the service refuses (HTTP 400): no such words", about_input)

        service.trouble = refuse
        return service

    return make_picky


@pytest.mark.parametrize("limit", [1, 3, 8])
@pytest.mark.parametrize("about_input", [False, True])
def test_a_refused_input_is_a_row_of_nan_and_not_asked_again(picky, limit, about_input):
    service = picky(limit, about_input)
    desk = make(service)
    expected = np.array([[len(text), 1] for text in TEXTS], np.float32)
    expected[[1, 5]] = np.nan
    np.testing.assert_array_equal(desk.query(TEXTS).scores, expected)
    desk.query(LATER)  # whatever came last, it was not the service that refused everybody
    assert sum(desk.trouble.refused.values()) == 2
    assert sorted(service.asked.values()) == [1] * 7
    sent = len(service.sent)
    for again in (desk, make(service)):  # as a run that goes on would
        np.testing.assert_array_equal(again.query(TEXTS).scores, expected)
    assert len(service.sent) == sent
    assert (desk.paid().queries, desk.paid().cost) == (7, 7 * (6 + 2) * 1000)


def test_a_service_that_refuses_everybody_is_quoted(picky):
    service = picky()
    with pytest.raises(Refused, match="no such words"):
        make(service).query(MANY[:2])
    with pytest.raises(Refused, match="no such words"):
        make(service).query(MANY)
    assert len(service.sent) <= 2 + 2 * FIRST_REFUSED
    service.trouble = lambda number, encoded: None
    assert not np.isnan(make(service).query(MANY).scores).any()  # nothing of it was kept


def test_also_if_it_has_answered_before(picky):
    desk = make(picky())
    desk.query(TEXTS)
    assert np.isnan(desk.query(MANY[:-1]).scores).all()
    with pytest.raises(Refused, match="no such words"):
        desk.query(MANY[-1:])


def test_an_input_that_the_service_names_as_the_reason_proves_nothing_about_others(picky):
    desk = make(picky(about_input=True))
    assert np.isnan(desk.query(MANY).scores).all()
    assert desk.trouble.refused == {"the service refuses (HTTP 400): no such words": len(MANY)}


def test_what_is_refused_costs_nothing(picky):
    desk = make(picky(), Account("a run", Limits(requests=6, queries=6)))
    assert np.isnan(desk.query(TEXTS).scores).any(1).sum() == 2


def test_an_answer_without_scores_is_paid_for_once(make_service):
    service = make_service(2)
    paid = NO_SCORES._replace(tokens=5, output_tokens=1)
    service.trouble = lambda number, encoded: [paid if "bad" in one else service.reply(one) for one in encoded]
    for _ in range(2):
        desk = make(service, concurrency=1)
        assert np.isnan(desk.query(TEXTS).scores).any(1).tolist() == ["bad" in text for text in TEXTS]
    assert len(service.sent) == 4
    assert desk.paid().tokens == 2 * 5 + 6 * 7


def test_the_last_words_are_remembered(make_service):
    service = make_service()

    def lose(number, encoded):
        raise Lost("HTTP 500")

    service.trouble = lose
    desk = make(service, retries=0)
    desk.query(TEXTS[:1])
    assert desk.trouble.last == "HTTP 500"


def test_doubtful_inputs_are_settled_by_the_next_answer():
    trouble = Trouble()
    assert trouble.refuse(b"a", Refused("no")) == []
    assert list(trouble.doubtful) == [b"a"]
    assert trouble.answered() == [b"a"]
    assert not trouble.doubtful
    trouble.check(over=True)

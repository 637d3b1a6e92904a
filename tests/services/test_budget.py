"""The budget of a run is never exceeded; what may have been charged counts until the price is known."""

import numpy as np
import pytest

from fedbbpt.errors import BackendError, BudgetError
from fedbbpt.services import InvalidResponse, RequestFailed
from fedbbpt.services.ledger import Account, Budget


@pytest.mark.parametrize(
    ("budget", "sent"),
    [(Budget(queries=7), 3), (Budget(requests=4), 4), (Budget(cost=100_000), 5), (Budget(), 5), (Budget(10, 5), 5)],
)
def test_it_is_never_exceeded(service_client, make_service, texts, budget, sent):
    service = make_service(2, seconds=0.005)
    client = service_client(service, budget, concurrency=5)
    if sent == 5:
        client.query(texts)
    else:
        with pytest.raises(BudgetError, match="does not allow another request"):
            client.query(texts)
    assert len(service.sent) == sent


def test_the_dearest_possible_answer_counts_until_the_answer_is_known(service_client, make_service, texts):
    service = make_service(max_input_tokens=1000)
    client = service_client(service, Budget(cost=1_002_000), concurrency=1)  # one such answer
    client.query(texts[:1])
    with pytest.raises(BudgetError, match=r"max_cost=0\.001002 .* 4e-06 dollars are spent"):
        client.query(texts[1:2])


def test_what_other_requests_leave_over_is_spent_too(service_client, make_service, texts, expected):
    service = make_service(seconds=0.002, max_input_tokens=1000)
    budget = Budget(cost=1_100_000)  # enough for one such answer, or for many usual ones
    assert service_client(service, budget, concurrency=5).query(texts).scores.tolist() == expected
    assert service.most == 1


def test_what_was_not_sent_is_not_counted(service_client, make_service, texts, expected):
    service = make_service(seconds=0.02)
    service.fail(BackendError("no such model"))
    client = service_client(service)
    with pytest.raises(BackendError):
        client.query(texts)
    service.recover()
    client.bill_to(Account("a run", Budget(requests=10)))
    assert client.query(texts).scores.tolist() == expected


def test_lost_requests_count_also_after_a_restart(service_client, make_service, texts):
    service, budget = make_service(), Budget(requests=4)
    service.fail(RequestFailed())
    assert np.isnan(service_client(service, budget, retries=2).query(texts[:1]).scores).all()
    service.recover()
    again = service_client(service, budget)
    again.query(texts[:1])
    with pytest.raises(BudgetError, match=r"max_requests=4 .* 4 are spent"):
        again.query(texts[1:2])
    again.bill_to(Account("another run", budget))
    again.query(texts[1:2])


def test_an_answer_that_cannot_be_used_may_have_been_charged(service_client, make_service, texts):
    service = make_service()
    service.fail(InvalidResponse("too long"))
    client = service_client(service)
    with pytest.raises(BackendError, match="too long"):
        client.query(texts[:1])
    client.bill_to(Account("a run", Budget(requests=1)))
    with pytest.raises(BudgetError):
        client.query(texts[:1])

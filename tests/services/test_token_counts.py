"""Token counts that cannot be: the service is paid what was reserved, three input tokens and one output token here."""

import numpy as np
import pytest

from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BudgetError
from fedbbpt.services import ServiceAnswer, token_count
from fedbbpt.services.ledger import BilledUsage, Budget
from fedbbpt.services.prices import Price

DOLLAR_PER_TOKEN = Price(1e6, 1e6)
DOLLAR = 10**9  # nanodollars


@pytest.mark.parametrize(
    ("tokens", "output"),
    [
        (-1, 1),
        (-(10**6), 1),
        (1, -(10**6)),
        (4, 0),
        (10**30, 0),
        (0, 2),
        (3, 10**30),
        (token_count(None), token_count("9")),
    ],
)
def test_they_cost_what_was_reserved(service_client, make_service, tokens, output):
    service = make_service()
    service.reply = lambda text: ServiceAnswer(np.ones(2, np.float32), tokens + output, output)
    client = service_client(service, price=DOLLAR_PER_TOKEN)
    answers = client.query(as_texts(["abc"]))
    assert (answers.tokens, answers.output_tokens) == (4, 1)
    assert client.billed() == BilledUsage(1, 1, 4, 1, 4 * DOLLAR)


def test_they_do_not_buy_another_query(service_client, make_service):
    service = make_service()
    service.reply = lambda text: ServiceAnswer(np.ones(2, np.float32), -(10**6), -(10**6))
    client = service_client(service, Budget(cost=9 * DOLLAR), price=DOLLAR_PER_TOKEN, concurrency=1)
    with pytest.raises(BudgetError):
        client.query(as_texts(["abc", "def", "ghi"]))
    assert client.billed() == BilledUsage(2, 2, 8, 2, 8 * DOLLAR)


@pytest.mark.parametrize("value", [None, True, "12", 1.5, float("nan"), float("inf"), [], {"total": 1}])
def test_what_is_no_token_count(value):
    assert token_count(value) == -1


def test_what_is_a_token_count():
    assert [token_count(value) for value in (0, 12, 12.0)] == [0, 12, 12]

import threading
from collections import Counter

import numpy as np
import pytest

from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, BudgetError
from fedbbpt.services import InvalidResponse, RateLimited, RequestFailed, ServiceAnswer, token_count
from fedbbpt.services.client import ServiceClient
from fedbbpt.services.ledger import Account, BilledUsage, Budget
from fedbbpt.services.prices import Price

DOLLAR = 10**9  # a token of these prices, in billionths
TEXTS = as_texts([f"{'x' * i}{i}" for i in range(1, 11)])
EXPECTED = [[len(text), 1] for text in TEXTS]


def make(service, **options):
    client = ServiceClient(service, **{"width": 2, "concurrency": 3, "price": Price(1.0, 2.0)} | options)
    client.bill_to(Account("a run"))
    return client


class TestAnswers:
    @pytest.mark.parametrize("limit", [1, 3, 10, 100])
    def test_come_in_the_order_of_the_inputs(self, make_service, limit):
        service = make_service(limit, seconds=0.002)
        answers = make(service).query(TEXTS)
        assert answers.scores.tolist() == EXPECTED
        assert answers.scores.dtype == np.float32
        assert (answers.tokens, answers.output_tokens) == (sum(len(t) + 1 for t in TEXTS), len(TEXTS))
        assert max(map(len, service.sent)) == min(limit, len(TEXTS))
        assert len(service.sent) == -(-len(TEXTS) // limit)

    def test_are_asked_for_once(self, make_service):
        service = make_service(2)
        client = make(service)
        twice = as_texts(["a", "b", "a", "a"])
        assert client.query(twice).scores.tolist() == [[1, 1]] * 4
        again = make(service).query(twice)  # as another process would
        assert service.asked == {"a": 1, "b": 1}
        assert again.tokens == 4 * 2
        assert client.billed() == BilledUsage(2, 1, 4, 2, 2 * 3000)

    def test_belong_to_the_service_as_it_was_asked(self, make_service):
        service, other = make_service(), make_service()
        other.identity = {"name": "fake", "options": 2}
        for one in (service, other):
            make(one).query(TEXTS[:1])
        assert service.asked == other.asked == {TEXTS[0]: 1}

    def test_drawn_at_random_belong_to_their_query_in_the_run(self, make_service):
        service = make_service()
        same = as_texts(["a", "a"])
        client = make(service, sampled=True)
        client.query(same)
        client.query(same)
        assert service.asked == {"a": 4}
        again = make(service, sampled=True)
        again.query(same)  # what a resumed run asks again is known
        again.query_index = 4
        again.query(same)
        assert service.asked == {"a": 6}
        again.bill_to(Account("another run"))
        again.query(same)
        assert service.asked == {"a": 8}

    def test_are_on_disk_before_they_are_used(self, make_service):
        service = make_service()
        service.trouble = lambda number, encoded: exec("raise KeyboardInterrupt") if number == 6 else None
        with pytest.raises(KeyboardInterrupt):
            make(service, concurrency=1).query(TEXTS)
        service.trouble = lambda number, encoded: None
        assert make(service).query(TEXTS).scores.tolist() == EXPECTED
        assert set(service.asked.values()) == {1}


class TestConcurrency:
    def test_is_bounded(self, make_service):
        service = make_service(seconds=0.02)
        make(service, concurrency=4).query(TEXTS)
        assert service.most == 4

    def test_nothing_is_sent_after_a_refusal(self, make_service):
        service = make_service(seconds=0.02)

        def refuse(number, encoded):
            if number == 1:
                raise BackendError("no such model")

        service.trouble = refuse
        with pytest.raises(BackendError, match="no such model"):
            make(service, concurrency=2).query(TEXTS)
        assert len(service.sent) <= 4
        assert not any(thread.name.startswith("dispatcher") for thread in threading.enumerate())


class TestRepetition:
    def test_of_what_got_lost_has_the_same_name(self, make_service):
        service = make_service(5)

        def lose(number, encoded):
            if TEXTS[0] in encoded and service.sent.count(encoded) < 3:
                raise RequestFailed

        service.trouble = lose
        client = make(service)
        assert client.query(TEXTS).scores.tolist() == EXPECTED
        assert sorted(Counter(service.keys).values()) == [1, 3]
        assert client.billed()[:2] == (10, 2)

    def test_ends_in_a_row_of_nan_that_is_not_kept(self, make_service):
        service = make_service()

        def lose(number, encoded):
            if encoded == [TEXTS[4]]:
                raise RequestFailed

        service.trouble = lose
        scores = make(service, retries=2).query(TEXTS).scores
        assert np.isnan(scores[4]).all()
        assert np.delete(scores, 4, 0).tolist() == EXPECTED[:4] + EXPECTED[5:]
        assert service.sent.count([TEXTS[4]]) == 3
        service.trouble = lambda number, encoded: None
        assert make(service).query(TEXTS).scores.tolist() == EXPECTED

    @pytest.mark.parametrize("bad", [[np.nan, 1], [1], [1, 2, 3]])
    def test_of_answers_that_cannot_be_used(self, make_service, bad):
        service = make_service(4)
        spoilt = ServiceAnswer(np.array(bad, np.float32), 5, 1)
        service.trouble = lambda number, encoded: [spoilt, *map(service.reply, encoded[1:])] if number == 1 else None
        assert make(service, concurrency=1).query(TEXTS[:4]).scores.tolist() == EXPECTED[:4]
        assert len(service.sent) == 2

    def test_in_the_end_some_answers_are_better_than_none(self, make_service):
        service = make_service(4)
        spoilt = ServiceAnswer(np.full(2, np.nan, np.float32))
        service.trouble = lambda number, encoded: [spoilt, *map(service.reply, encoded[1:])]
        scores = make(service, retries=1).query(TEXTS[:4]).scores
        assert np.isnan(scores[0]).all()
        assert scores[1:].tolist() == EXPECTED[1:4]

    def test_of_a_service_that_reads_only_the_first_of_several(self, make_service):
        service = make_service(4)
        nothing = ServiceAnswer(np.full(2, np.nan, np.float32))
        service.trouble = lambda number, encoded: [service.reply(encoded[0]), *[nothing] * (len(encoded) - 1)]
        assert make(service, retries=1).query(TEXTS[:4]).scores.tolist() == EXPECTED[:4]

    def test_too_few_replies_are_none(self, make_service):
        service = make_service(4)
        service.trouble = lambda number, encoded: [service.reply(encoded[0])] if number == 1 else None
        assert make(service).query(TEXTS[:4]).scores.tolist() == EXPECTED[:4]

    def test_a_busy_service_is_left_alone_and_not_paid(self, make_service):
        service = make_service()

        def busy(number, encoded):
            if number <= 8:
                raise RateLimited(0.01)

        service.trouble = busy
        client = make(service, retries=0)
        assert client.query(TEXTS).scores.tolist() == EXPECTED
        assert len(service.sent) == 18
        assert client.billed()[:2] == (10, 10)

    def test_of_a_service_that_stays_busy_is_said_once(self, make_service, caplog):
        service = make_service()

        def busy(number, encoded):
            raise RateLimited(0.0001, "HTTP 429: 200 requests a day")

        service.trouble = busy
        client = make(service)
        assert np.isnan(client.query(TEXTS[:2]).scores).all()
        assert client.refusals.last_error == "the service is busy: HTTP 429: 200 requests a day"
        assert [record.getMessage().partition(";")[0] for record in caplog.records] == [client.refusals.last_error]


class TestLimits:
    @pytest.mark.parametrize(
        ("limits", "sent"),
        [(Budget(queries=7), 3), (Budget(requests=4), 4), (Budget(cost=100_000), 5), (Budget(), 5), (Budget(10, 5), 5)],
    )
    def test_are_never_exceeded(self, make_service, limits, sent):
        service = make_service(2, seconds=0.005)
        client = make(service, concurrency=5)
        client.bill_to(Account("a run", limits))
        if sent == 5:
            client.query(TEXTS)
        else:
            with pytest.raises(BudgetError, match="does not allow another request"):
                client.query(TEXTS)
        assert len(service.sent) == sent

    def test_the_dearest_possible_answer_counts_until_it_is_known(self, make_service):
        service = make_service()
        service.estimate_tokens = lambda encoded: (
            type(service).estimate_tokens(service, encoded)._replace(max_input_tokens=1000)
        )
        client = make(service, concurrency=1)
        client.bill_to(Account("a run", Budget(cost=1_002_000)))  # one such answer
        client.query(TEXTS[:1])
        with pytest.raises(BudgetError, match=r"max_cost=0\.001002 .* 4e-06 dollars are spent"):
            client.query(TEXTS[1:2])

    def test_what_others_leave_over_is_spent_too(self, make_service):
        service = make_service(seconds=0.002)
        service.estimate_tokens = lambda encoded: (
            type(service).estimate_tokens(service, encoded)._replace(max_input_tokens=1000)
        )
        client = make(service, concurrency=5)
        client.bill_to(Account("a run", Budget(cost=1_100_000)))  # room for one such answer, or for many usual ones
        assert client.query(TEXTS).scores.tolist() == EXPECTED
        assert service.most == 1

    def test_what_was_not_sent_is_not_counted(self, make_service):
        service = make_service(seconds=0.02)

        def refuse(number, encoded):
            raise BackendError("no such model")

        service.trouble = refuse
        client = make(service, concurrency=2)
        with pytest.raises(BackendError):
            client.query(TEXTS)
        service.trouble = lambda number, encoded: None
        client.bill_to(Account("a run", Budget(requests=10)))
        assert client.query(TEXTS).scores.tolist() == EXPECTED

    def test_lost_requests_count_also_after_a_restart(self, make_service):
        service = make_service()

        def lose(number, encoded):
            raise RequestFailed

        service.trouble = lose
        client = make(service, retries=2)
        client.bill_to(Account("a run", Budget(requests=4)))
        assert np.isnan(client.query(TEXTS[:1]).scores).all()
        service.trouble = lambda number, encoded: None
        again = make(service)
        again.bill_to(Account("a run", Budget(requests=4)))
        again.query(TEXTS[:1])
        with pytest.raises(BudgetError, match=r"max_requests=4 .* 4 are spent"):
            again.query(TEXTS[1:2])
        again.bill_to(Account("another run", Budget(requests=4)))
        again.query(TEXTS[1:2])


class TestTokensThatCannotBe:
    """Of a text of three characters, three input tokens and one output token were reserved."""

    @pytest.mark.parametrize(
        ("read", "output"),
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
    def test_cost_what_was_reserved(self, make_service, read, output):
        service = make_service()
        service.reply = lambda text: ServiceAnswer(np.ones(2, np.float32), read + output, output)
        client = make(service, price=Price(1e6, 1e6))
        answers = client.query(as_texts(["abc"]))
        assert (answers.tokens, answers.output_tokens) == (4, 1)
        assert client.billed() == BilledUsage(1, 1, 4, 1, 4 * DOLLAR)

    def test_do_not_buy_another_query(self, make_service):
        service = make_service()
        service.reply = lambda text: ServiceAnswer(np.ones(2, np.float32), -(10**6), -(10**6))
        client = make(service, price=Price(1e6, 1e6), concurrency=1)
        client.bill_to(Account("a run", Budget(cost=9 * DOLLAR)))
        with pytest.raises(BudgetError):
            client.query(as_texts(["abc", "def", "ghi"]))
        assert client.billed() == BilledUsage(2, 2, 8, 2, 8 * DOLLAR)

    @pytest.mark.parametrize("said", [None, True, "12", 1.5, float("nan"), float("inf"), [], {"total": 1}])
    def test_what_is_no_number_of_tokens(self, said):
        assert token_count(said) == -1

    def test_what_is_one(self):
        assert [token_count(said) for said in (0, 12, 12.0)] == [0, 12, 12]


def test_an_answer_that_cannot_be_used_may_have_been_charged(make_service):
    service = make_service()

    def spoil(number, encoded):
        raise InvalidResponse("too long")

    service.trouble = spoil
    client = make(service)
    with pytest.raises(BackendError, match="too long"):
        client.query(TEXTS[:1])
    client.bill_to(Account("a run", Budget(requests=1)))
    with pytest.raises(BudgetError):
        client.query(TEXTS[:1])

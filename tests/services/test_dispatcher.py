"""Requests are in flight side by side, up to a limit, and are sent again until their answers can be used."""

import threading
from collections import Counter

import numpy as np
import pytest

from fedbbpt.errors import BackendError
from fedbbpt.services import RateLimited, RequestFailed, ServiceAnswer


class TestConcurrency:
    def test_is_bounded(self, service_client, make_service, texts):
        service = make_service(seconds=0.02)
        service_client(service, concurrency=4).query(texts)
        assert service.most == 4

    def test_nothing_is_sent_after_a_refusal(self, service_client, make_service, texts):
        service = make_service(seconds=0.02)
        service.fail(BackendError("no such model"), when=lambda number, encoded: number == 1)
        with pytest.raises(BackendError, match="no such model"):
            service_client(service).query(texts)
        assert len(service.sent) <= 4
        assert not any(thread.name.startswith("dispatcher") for thread in threading.enumerate())


class TestRetry:
    def test_of_a_lost_request_has_the_same_key(self, service_client, make_service, texts, expected):
        service = make_service(5)
        service.fail(
            RequestFailed(), when=lambda number, encoded: texts[0] in encoded and service.sent.count(encoded) < 3
        )
        client = service_client(service)
        assert client.query(texts).scores.tolist() == expected
        assert sorted(Counter(service.keys).values()) == [1, 3]
        assert client.billed()[:2] == (10, 2)

    def test_ends_in_a_row_of_nan_that_is_not_stored(self, service_client, make_service, texts, expected):
        service = make_service()
        service.fail(RequestFailed(), when=lambda number, encoded: encoded == [texts[4]])
        scores = service_client(service, retries=2).query(texts).scores
        assert np.isnan(scores[4]).all()
        assert np.delete(scores, 4, 0).tolist() == expected[:4] + expected[5:]
        assert service.sent.count([texts[4]]) == 3
        service.recover()
        assert service_client(service).query(texts).scores.tolist() == expected

    @pytest.mark.parametrize("bad", [[np.nan, 1], [1], [1, 2, 3]])
    def test_of_answers_that_cannot_be_used(self, service_client, make_service, texts, expected, bad):
        service = make_service(4)
        unusable = ServiceAnswer(np.array(bad, np.float32), 5, 1)
        service.trouble = lambda number, encoded: [unusable, *map(service.reply, encoded[1:])] if number == 1 else None
        assert service_client(service, concurrency=1).query(texts[:4]).scores.tolist() == expected[:4]
        assert len(service.sent) == 2

    def test_in_the_end_some_answers_are_better_than_none(self, service_client, make_service, texts, expected):
        service = make_service(4)
        unusable = ServiceAnswer(np.full(2, np.nan, np.float32))
        service.trouble = lambda number, encoded: [unusable, *map(service.reply, encoded[1:])]
        scores = service_client(service, retries=1).query(texts[:4]).scores
        assert np.isnan(scores[0]).all()
        assert scores[1:].tolist() == expected[1:4]

    def test_of_a_service_that_reads_only_the_first_of_several(self, service_client, make_service, texts, expected):
        service = make_service(4)
        unusable = ServiceAnswer(np.full(2, np.nan, np.float32))
        service.trouble = lambda number, encoded: [service.reply(encoded[0]), *[unusable] * (len(encoded) - 1)]
        assert service_client(service, retries=1).query(texts[:4]).scores.tolist() == expected[:4]

    def test_of_too_few_answers(self, service_client, make_service, texts, expected):
        service = make_service(4)
        service.trouble = lambda number, encoded: [service.reply(encoded[0])] if number == 1 else None
        assert service_client(service).query(texts[:4]).scores.tolist() == expected[:4]


class TestBusyService:
    def test_is_left_alone_and_not_paid(self, service_client, make_service, texts, expected):
        service = make_service()
        service.fail(RateLimited(0.01), when=lambda number, encoded: number <= 8)
        client = service_client(service, retries=0)
        assert client.query(texts).scores.tolist() == expected
        assert len(service.sent) == 18
        assert client.billed()[:2] == (10, 10)

    def test_that_stays_busy_is_logged_once(self, service_client, make_service, texts, caplog):
        service = make_service()
        service.fail(RateLimited(0.0001, "HTTP 429: 200 requests a day"))
        client = service_client(service)
        assert np.isnan(client.query(texts[:2]).scores).all()
        assert client.refusals.last_error == "the service is busy: HTTP 429: 200 requests a day"
        assert [record.getMessage().partition(";")[0] for record in caplog.records] == [client.refusals.last_error]

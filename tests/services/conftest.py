"""A service in this process that can be made to fail, and its clients."""

import threading
import time
from collections import Counter

import numpy as np
import pytest

from fedbbpt.data.texts import as_texts
from fedbbpt.services import ServiceAnswer, TokenEstimate, request
from fedbbpt.services.client import ServiceClient
from fedbbpt.services.ledger import Account, Budget
from fedbbpt.services.prices import Price


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(request, "MIN_BACKOFF", 0.001)


class FakeService:
    """Scores of a text: its length, and 1. `trouble(number, encoded)` may raise, or return other answers.

    `sent` and `keys` hold the requests and their idempotency keys, `asked` how often each text was answered, and `most`
    the largest number of requests that were in flight at once.
    """

    def __init__(self, limit=1, seconds=0.0, max_input_tokens=None):
        self.identity = {"name": "fake", "options": 1}
        self.max_inputs_per_request = limit
        self.sent, self.keys, self.most, self.under_way = [], [], 0, 0
        self.asked = Counter()
        self.recover()
        self._seconds, self._max_input_tokens, self._lock = seconds, max_input_tokens, threading.Lock()

    def fail(self, error, when=lambda number, encoded: True):
        """Raises an error from now on, at all requests or at some."""

        def trouble(number, encoded):
            if when(number, encoded):
                raise error

        self.trouble = trouble

    def recover(self):
        """Answers everything from now on."""
        self.trouble = lambda number, encoded: None

    def encode(self, one):
        return str(one)

    def estimate_tokens(self, encoded):
        return TokenEstimate(len(encoded), 1, self._max_input_tokens or len(encoded))

    def send(self, encoded, key):
        with self._lock:
            self.sent.append(list(encoded))
            self.keys.append(key)
            number = len(self.sent)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            time.sleep(self._seconds)
            other = self.trouble(number, encoded)
        finally:
            with self._lock:
                self.under_way -= 1
        self.asked.update(encoded)
        return other or [self.reply(one) for one in encoded]

    def reply(self, one):
        return ServiceAnswer(np.array([len(one), 1], np.float32), len(one) + 1, 1)


@pytest.fixture
def make_service():
    """`make_service(limit=1, seconds=0.0)`: so many inputs per request, and so much time for each."""
    return FakeService


@pytest.fixture
def service_client():
    """`service_client(service, budget=Budget(), **options)`: a client that bills "a run"."""

    def make(service, budget=Budget(), **options):  # noqa: B008
        client = ServiceClient(service, **{"width": 2, "concurrency": 2, "price": Price(1.0, 2.0)} | options)
        client.bill_to(Account("a run", budget))
        return client

    return make


@pytest.fixture
def texts():
    """Ten texts of 2 to 12 characters."""
    return as_texts([f"{'x' * i}{i}" for i in range(1, 11)])


@pytest.fixture
def expected(texts):
    """Their scores."""
    return [[len(text), 1] for text in texts]

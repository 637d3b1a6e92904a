import threading
import time
from collections import Counter

import numpy as np
import pytest

from fedbbpt.services import ServiceAnswer, TokenEstimate, request


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(request, "MIN_BACKOFF", 0.001)


class FakeService:
    """Scores of a text: its length, and 1. `trouble(number, encoded)` may raise, or return other replies."""

    def __init__(self, limit=1, seconds=0.0):
        self.identity = {"name": "fake", "options": 1}
        self.max_inputs_per_request = limit
        self.sent, self.keys, self.most, self.under_way = [], [], 0, 0
        self.asked = Counter()
        self.trouble = lambda number, encoded: None
        self._seconds, self._lock = seconds, threading.Lock()

    def encode(self, one):
        return str(one)

    def estimate_tokens(self, encoded):
        return TokenEstimate(len(encoded), 1, len(encoded))

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
    return FakeService

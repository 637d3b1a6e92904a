"""How many requests are under way at a time, and how many a minute: what a service allows, found while asking."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds, where a busy service does not say how long
MINUTE = 60.0


class Pace:
    """A limit that threads share: half as many at a time when the service is busy, one more after as many answers.

    (Additive increase, multiplicative decrease: Chiu & Jain 1989.) While a service wants to be left alone, all wait.
    `requests` and `tokens` are its limits a minute, counted over the last sixty seconds; None is no limit.
    """

    def __init__(
        self,
        most: int,
        requests: int | None = None,
        tokens: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._requests, self._tokens, self._clock = most, requests, tokens, clock
        self._allowed, self._under_way = float(most), 0
        self._not_before, self._wait = 0.0, FIRST_WAIT
        self._sent: deque[tuple[float, int]] = deque()  # when, and of how many tokens: within the last minute
        self._lock = threading.Lock()

    def enter(self, tokens: int) -> float:
        """0 if a request of so many tokens is now under way, else after how many seconds it is worth trying again.

        (Infinity where that is when another one is over.)
        """
        with self._lock:
            wait = self._until_free(tokens)
            if not wait:
                self._under_way += 1
                self._sent.append((self._clock(), tokens))
            return wait

    def leave(self) -> None:
        """The request is over."""
        with self._lock:
            self._under_way -= 1

    def answered(self) -> None:
        """The service keeps up."""
        with self._lock:
            self._allowed = min(self._most, self._allowed + 1 / self._allowed)
            self._wait = FIRST_WAIT

    def busy(self, after: float | None) -> None:
        """The service wants to be left alone for so many seconds; without a number twice as long as the last time."""
        with self._lock:
            if after is None:
                after, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
            self._allowed = max(1.0, self._allowed / 2)
            self._not_before = max(self._not_before, self._clock() + after)

    def _until_free(self, tokens: int) -> float:
        now = self._clock()
        while self._sent and self._sent[0][0] <= now - MINUTE:
            self._sent.popleft()
        if now < self._not_before:
            return self._not_before - now
        if self._under_way >= int(self._allowed):
            return math.inf
        full = self._requests is not None and len(self._sent) >= self._requests
        much = self._tokens is not None and self._sent and tokens + sum(t for _, t in self._sent) > self._tokens
        return self._sent[0][0] + MINUTE - now if full or much else 0.0

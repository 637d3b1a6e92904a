"""How many requests may be in flight, and how many per minute: found out while asking."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable

MIN_WAIT, MAX_WAIT = 1.0, 60.0  # seconds, where a busy service does not say how long
MINUTE = 60.0


class AdaptiveLimiter:
    """A concurrency limit shared by threads: halved when the service is busy, one more after that many answers.

    (Additive increase, multiplicative decrease: Chiu & Jain 1989.) While the service asks to wait, nothing is sent.

    >>> limiter = AdaptiveLimiter(2)
    >>> [limiter.try_acquire(tokens=1) for _ in range(3)]
    [0.0, 0.0, inf]
    >>> limiter.release()
    >>> limiter.try_acquire(tokens=1)
    0.0

    Args:
        max_concurrency: requests in flight, at most.
        requests_per_minute: over the last sixty seconds; None is no limit.
        tokens_per_minute: likewise; a request that needs more goes alone.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        max_concurrency: int,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max, self._requests, self._tokens = max_concurrency, requests_per_minute, tokens_per_minute
        self._clock, self._lock = clock, threading.Lock()
        self._allowed, self._in_flight = float(max_concurrency), 0
        self._not_before, self._wait = 0.0, MIN_WAIT
        self._sent: deque[tuple[float, int]] = deque()  # time and tokens of each request of the last minute

    def try_acquire(self, tokens: int) -> float:
        """Admits a request of about `tokens`, or returns the seconds after which to try again.

        0.0: the request is admitted, and has to be released. Infinity: try again when another one is released.
        """
        with self._lock:
            wait = self._seconds_until_free(tokens)
            if not wait:
                self._in_flight += 1
                self._sent.append((self._clock(), tokens))
            return wait

    def release(self) -> None:
        """The request has ended, whatever came of it."""
        with self._lock:
            self._in_flight -= 1

    def on_success(self) -> None:
        """The service answered: raises the limit a little."""
        with self._lock:
            self._allowed = min(self._max, self._allowed + 1 / self._allowed)
            self._wait = MIN_WAIT

    def on_throttle(self, retry_after: float | None) -> None:
        """The service is busy: halves the limit, and waits so many seconds; without a number, twice the last wait."""
        with self._lock:
            if retry_after is None:
                retry_after, self._wait = self._wait, min(2 * self._wait, MAX_WAIT)
            self._allowed = max(1.0, self._allowed / 2)
            self._not_before = max(self._not_before, self._clock() + retry_after)

    def _seconds_until_free(self, tokens: int) -> float:
        now = self._clock()
        while self._sent and self._sent[0][0] <= now - MINUTE:
            self._sent.popleft()
        if now < self._not_before:
            return self._not_before - now
        if self._in_flight >= int(self._allowed):
            return math.inf
        too_many = self._requests is not None and len(self._sent) >= self._requests
        too_long = self._tokens is not None and self._sent and tokens + sum(t for _, t in self._sent) > self._tokens
        return self._sent[0][0] + MINUTE - now if too_many or too_long else 0.0

"""Repeats requests to one server that may be busy, or away for a while."""

import time
from typing import NamedTuple, Protocol

from fedbbpt.errors import BackendError
from fedbbpt.types import Traffic
from fedbbpt.web.http_errors import AWAY, BUSY

GIVE_UP_AFTER = 120.0  # seconds that a server may be away, say to be started again
FIRST_DELAY, MAX_DELAY = 0.1, 10.0  # seconds between two attempts; doubled each time
RESUME = "nothing is lost: once it answers, continue with --resume (and -o algorithm.body_url=URL where it has moved)"


class HttpResult(NamedTuple):
    """The response to a request, after all attempts."""

    status: int
    content: bytes
    traffic: Traffic  # bytes of message bodies that were sent and received, over all attempts


class Attempt(NamedTuple):
    """The outcome of one attempt."""

    status: int | None  # None if no whole response came
    content: bytes
    traffic: Traffic
    retry_after: float  # seconds that the server asks to wait
    error: str  # why there is no response


class Link(Protocol):
    """A way to the server: over HTTP, or one that carries the same requests and responses otherwise."""

    @property
    def url(self) -> str:
        """The server's, for people."""

    def attempt(self, method: str, path: str, content: bytes, query: dict[str, str]) -> Attempt:
        """Sends a request once.

        Raises:
            ConfigError: no attempt can succeed as things are set up.
            BackendError: another attempt makes no sense.
        """


class RetryingClient:
    """Repeats requests to a server that is busy or away, with exponential backoff, for `GIVE_UP_AFTER` seconds."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def url(self) -> str:
        """The server's, for people."""
        return self._link.url

    def request(self, method: str, path: str, content: bytes = b"", **query: str) -> HttpResult:
        """The first response of a server that is neither busy nor away.

        Raises:
            ConfigError: the server cannot be reached as things are set up.
            BackendError: no response came in time.
        """
        traffic, delay, deadline = Traffic(), FIRST_DELAY, None
        while True:
            attempt = self._link.attempt(method, path, content, query)
            traffic += attempt.traffic
            if attempt.status is not None and attempt.status not in BUSY + AWAY:
                return HttpResult(attempt.status, attempt.content, traffic)
            now = time.monotonic()
            deadline = deadline or now + GIVE_UP_AFTER
            if now >= deadline:
                why = attempt.error or f"HTTP {attempt.status}"
                raise BackendError(f"{self.url} did not answer for {GIVE_UP_AFTER:g} seconds ({why}); {RESUME}")
            time.sleep(min(max(delay, attempt.retry_after), deadline - now))
            delay = min(2 * delay, MAX_DELAY)

"""Asking a server that may be busy, or away for a while."""

import io
import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.types import Traffic
from fedbbpt.web.auth import read_token
from fedbbpt.web.policy import AWAY, BUSY, TO_CONNECT, seconds_of
from fedbbpt.web.response_limits import TooLong
from fedbbpt.web.urls import read_address

if TYPE_CHECKING:
    import requests

    from fedbbpt.web.route import Route

PATIENCE = 120.0  # seconds that a server may be away, say to be started again
FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds between two attempts; each time twice as many
TIMEOUT = 600.0  # seconds to answer: a large body on a small machine takes minutes
CONNECTIONS = 10  # that are kept
MOST_BYTES = 2**31  # of a reply: activations are large
SETTING = "algorithm.body_url"
RESUME = "nothing is lost: once it answers, continue with --resume (and -o algorithm.body_url=URL where it has moved)"


class Answer(NamedTuple):
    """What came back in the end."""

    status: int
    content: bytes
    traffic: Traffic  # bytes of message bodies that were really sent and received, all attempts together


class Attempt(NamedTuple):
    """What came of one request."""

    status: int | None  # None: nothing came
    content: bytes
    traffic: Traffic
    after: float  # seconds that the server asks to wait
    fault: str  # why there is no answer


class RetryingClient:
    """Asks one server, again and again for as long as `PATIENCE` where it cannot be reached or is busy.

    What the server's token is, is read from the environment, and goes to this server alone: no redirect is followed,
    and no `.netrc` is read.

    Raises:
        ConfigError: the URL is none of HTTP.
    """

    def __init__(self, url: str) -> None:
        self._address = read_address(url, SETTING)
        if "?" in url:
            raise ConfigError(f"{SETTING} is what fedbbpt serve --split body prints, such as http://127.0.0.1:8000")
        self.url = self._address.url.rstrip("/")

    def ask(self, method: str, path: str, message: bytes = b"", **named: str) -> Answer:
        """The first answer of a server that is neither busy nor away; `named` go into the URL.

        Raises:
            ConfigError: the URL cannot be asked, or has no TLS that can be trusted.
            BackendError: there was no answer.
        """
        traffic, wait, until = Traffic(), FIRST_WAIT, None
        while True:
            attempt = self._attempt(method, path, message, named)
            traffic += attempt.traffic
            if attempt.status is not None and attempt.status not in BUSY + AWAY:
                return Answer(attempt.status, attempt.content, traffic)
            now = time.monotonic()
            until = until or now + PATIENCE
            if now >= until:
                why = attempt.fault or f"HTTP {attempt.status}"
                raise BackendError(f"{self.url} did not answer for {PATIENCE:g} seconds ({why}); {RESUME}")
            time.sleep(min(max(wait, attempt.after), until - now))
            wait = min(2 * wait, LONGEST_WAIT)

    def _attempt(self, method: str, path: str, message: bytes, named: dict[str, str]) -> Attempt:
        import requests

        sent, fault = io.BytesIO(message), ""
        response: requests.Response | None
        body: dict[str, Any] = {"data": sent, "headers": {"Content-Type": "application/octet-stream"}}
        how: dict[str, Any] = {"timeout": (TO_CONNECT, TIMEOUT), "allow_redirects": False}
        try:
            response = self._session.request(method, self.url + path, params=named, **how, **(body if message else {}))
        except TooLong as e:
            raise self._route.outcome(e) from e
        except requests.RequestException as e:
            if said := self._route.fault(e):
                raise said from e
            response, fault = e.response, type(e).__name__
        traffic = Traffic(up=sent.tell(), down=response.raw.tell() if response is not None else 0)
        if response is None or fault:
            return Attempt(None, b"", traffic, 0.0, fault)
        after = seconds_of(response.headers.get("Retry-After", "")) or 0.0
        return Attempt(response.status_code, response.content, traffic, after, fault)

    @cached_property
    def _route(self) -> "Route":
        from fedbbpt.web.route import Route

        return Route(self.url, SETTING, awaited=True)

    @cached_property
    def _session(self) -> "requests.Session":
        import requests

        from fedbbpt.web.requests_adapter import follow

        session = requests.Session()
        session.auth = partial(_signed, read_token(None))
        follow(session, self._route, CONNECTIONS, MOST_BYTES)
        session.headers["Accept-Encoding"] = "identity"  # so that what is counted is what was said
        return session


def _signed(token: str | None, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token}"
    return request

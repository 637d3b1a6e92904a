"""An HTTP client for one server that may be busy, or away for a while."""

import io
import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.types import Traffic
from fedbbpt.web.auth import read_token
from fedbbpt.web.http_errors import AWAY, BUSY
from fedbbpt.web.response_limits import CONNECT_TIMEOUT, ResponseTooLarge
from fedbbpt.web.retry_after import retry_after
from fedbbpt.web.urls import parse_service_url

if TYPE_CHECKING:
    import requests

    from fedbbpt.web.route import Route

GIVE_UP_AFTER = 120.0  # seconds that a server may be away, say to be started again
FIRST_DELAY, MAX_DELAY = 0.1, 10.0  # seconds between two attempts; doubled each time
TIMEOUT = 600.0  # seconds to answer: a large body on a small machine takes minutes
POOL_SIZE = 10  # connections that are kept open
MAX_REPLY = 2**31  # bytes: activations are large
SETTING = "algorithm.body_url"
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


class RetryingClient:
    """Repeats requests to a server that is busy or away, with exponential backoff, for `GIVE_UP_AFTER` seconds.

    The server's token is read from the environment and sent to this server alone: redirects are not followed, and no
    `.netrc` is read.

    Raises:
        ConfigError: the URL is not one of HTTP.
    """

    def __init__(self, url: str) -> None:
        self._address = parse_service_url(url, SETTING)
        if "?" in url:
            raise ConfigError(f"{SETTING} is what fedbbpt serve-body prints, such as http://127.0.0.1:8000")
        self.url = self._address.url.rstrip("/")

    def request(self, method: str, path: str, content: bytes = b"", **query: str) -> HttpResult:
        """The first response of a server that is neither busy nor away.

        Raises:
            ConfigError: the URL cannot be reached, or its TLS cannot be trusted.
            BackendError: no response came in time.
        """
        traffic, delay, deadline = Traffic(), FIRST_DELAY, None
        while True:
            attempt = self._attempt(method, path, content, query)
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

    def _attempt(self, method: str, path: str, content: bytes, query: dict[str, str]) -> Attempt:
        import requests

        sent, error = io.BytesIO(content), ""
        response: requests.Response | None
        options: dict[str, Any] = {"params": query, "timeout": (CONNECT_TIMEOUT, TIMEOUT), "allow_redirects": False}
        if content:
            options |= {"data": sent, "headers": {"Content-Type": "application/octet-stream"}}
        try:
            response = self._session.request(method, self.url + path, **options)
        except ResponseTooLarge as e:
            raise self._route.request_error(e) from e
        except requests.RequestException as e:
            if permanent := self._route.permanent_error(e):
                raise permanent from e
            response, error = e.response, type(e).__name__
        traffic = Traffic(up=sent.tell(), down=response.raw.tell() if response is not None else 0)
        if response is None or error:
            return Attempt(None, b"", traffic, 0.0, error)
        wait = retry_after(response.headers) or 0.0
        return Attempt(response.status_code, response.content, traffic, wait, error)

    @cached_property
    def _route(self) -> "Route":
        from fedbbpt.web.route import Route

        return Route(self.url, SETTING, may_start_later=True)

    @cached_property
    def _session(self) -> "requests.Session":
        import requests

        from fedbbpt.web.requests_adapter import configure_session

        session = requests.Session()
        session.auth = partial(_authorize, read_token(None))
        configure_session(session, self._route, POOL_SIZE, MAX_REPLY)
        session.headers["Accept-Encoding"] = "identity"  # so that the bytes that are counted are those of the message
        return session


def _authorize(token: str | None, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token}"
    return request

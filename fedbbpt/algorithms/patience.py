"""Asking a server that may be busy, or away for a while."""

import io
import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from fedbbpt.access import VARIABLE, is_loopback, read_token
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.types import Crossed

if TYPE_CHECKING:
    import requests

PATIENCE = 120.0  # seconds that a server may be away, say to be started again
FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0  # seconds between two attempts; each time twice as many
TIMEOUTS = 10.0, 600.0  # seconds to be reached, and to answer: a large body on a small machine takes minutes
BUSY = (408, 429, 502, 503, 504)
RESUME = "nothing is lost: once it answers, continue with --resume (and -o algorithm.server=URL where it has moved)"


class Answer(NamedTuple):
    """What came back in the end."""

    status: int
    content: bytes
    crossed: Crossed  # bytes of message bodies that were really sent and received, all attempts together


class Attempt(NamedTuple):
    """What came of one request."""

    status: int | None  # None: nothing came
    content: bytes
    crossed: Crossed
    after: float  # seconds that the server asks to wait
    fault: str  # why there is no answer


class Patient:
    """Asks one server, again and again for as long as `PATIENCE` where it cannot be reached or is busy.

    What the server's token is, is read from the environment, and goes to this server alone: no redirect is followed,
    and no `.netrc` is read.

    Raises:
        ConfigError: the URL is none of HTTP.
    """

    def __init__(self, url: str) -> None:
        self._host, self.url = _host(url), url.rstrip("/")

    def ask(self, method: str, path: str, message: bytes = b"", **named: str) -> Answer:
        """The first answer that is one, of any other status than `BUSY`; `named` go into the URL.

        Raises:
            ConfigError: the URL cannot be asked, or has no TLS that can be trusted.
            BackendError: there was no answer.
        """
        crossed, wait, until = Crossed(), FIRST_WAIT, None
        while True:
            attempt = self._attempt(method, path, message, named)
            crossed += attempt.crossed
            if attempt.status is not None and attempt.status not in BUSY:
                return Answer(attempt.status, attempt.content, crossed)
            now = time.monotonic()
            until = until or now + PATIENCE
            if now >= until:
                why = attempt.fault or f"HTTP {attempt.status}"
                raise BackendError(f"{self.url} did not answer for {PATIENCE:g} seconds ({why}); {RESUME}")
            time.sleep(min(max(wait, attempt.after), until - now))
            wait = min(2 * wait, LONGEST_WAIT)

    def _attempt(self, method: str, path: str, message: bytes, named: dict[str, str]) -> Attempt:
        import requests
        from requests import exceptions
        from urllib3.exceptions import LocationValueError

        sent, response, content, fault = io.BytesIO(message), None, b"", ""
        body: dict[str, Any] = {"data": sent, "headers": {"Content-Type": "application/octet-stream"}}
        how: dict[str, Any] = {"timeout": TIMEOUTS, "allow_redirects": False, "stream": True}
        try:
            response = self._session.request(method, self.url + path, params=named, **how, **(body if message else {}))
            content = response.content
        except exceptions.SSLError as e:
            raise ConfigError(f"{self.url} has no TLS that can be trusted; check algorithm.server") from e
        except (requests.ConnectionError, requests.Timeout, exceptions.ChunkedEncodingError) as e:
            fault = type(e).__name__
        except (requests.RequestException, LocationValueError) as e:  # the latter comes as it is, of a proxy's host
            raise ConfigError(f"{self.url} cannot be asked ({type(e).__name__}); check algorithm.server") from e
        if response is None:
            return Attempt(None, b"", Crossed(up=sent.tell()), 0.0, fault)
        crossed = Crossed(up=sent.tell(), down=response.raw.tell())
        return Attempt(None if fault else response.status_code, content, crossed, _after(response), fault)

    @cached_property
    def _session(self) -> "requests.Session":
        import requests

        session = requests.Session()
        session.auth = partial(_signed, read_token(None))
        session.headers["Accept-Encoding"] = "identity"  # so that what is counted is what was said
        session.trust_env = not is_loopback(self._host)  # no proxy leads to this machine itself
        return session


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        if host and host.isascii():  # of others, requests makes ASCII by newer rules than Python
            host.encode("idna")  # a ValueError where a label is empty or too long, which requests does not look at
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(
            "algorithm.server is the URL that fedbbpt serve --split body prints, such as http://127.0.0.1:8000, and "
            f"holds no password: that is for ${VARIABLE}"
        )
    return host


def _signed(token: str | None, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token}"
    return request


def _after(response: "requests.Response") -> float:
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    try:
        return Retry().get_retry_after(response.raw) or 0.0
    except (InvalidHeader, ValueError):
        return 0.0

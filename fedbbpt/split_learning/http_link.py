"""The way to a server over HTTP."""

import io
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from fedbbpt.errors import ConfigError
from fedbbpt.split_learning.http_retry import Attempt
from fedbbpt.types import Traffic
from fedbbpt.web.auth import read_token
from fedbbpt.web.response_limits import CONNECT_TIMEOUT, ResponseTooLarge
from fedbbpt.web.retry_after import retry_after
from fedbbpt.web.urls import parse_service_url

if TYPE_CHECKING:
    import requests

    from fedbbpt.web.route import Route

TIMEOUT = 600.0  # seconds to answer: a large body on a small machine takes minutes
POOL_SIZE = 10  # connections that are kept open
MAX_REPLY = 2**31  # bytes: activations are large
SETTING = "algorithm.body_url"


class HttpLink:
    """Sends requests to a URL. See `Link`.

    The server's token is read from the environment and sent to this server alone: redirects are not followed, and no
    `.netrc` is read.

    Raises:
        ConfigError: the URL is not one of HTTP.
    """

    def __init__(self, url: str) -> None:
        address = parse_service_url(url, SETTING)
        if "?" in url:
            raise ConfigError(f"{SETTING} is what fedbbpt serve-body prints, such as http://127.0.0.1:8000")
        self.url = address.url.rstrip("/")

    def attempt(self, method: str, path: str, content: bytes, query: dict[str, str]) -> Attempt:
        """See `Link`."""
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

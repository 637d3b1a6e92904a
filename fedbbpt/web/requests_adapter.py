"""An adapter for `requests` that follows a route and limits responses."""

import functools
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from fedbbpt.web.response_limits import (
    CHUNK_BYTES,
    CONNECT_TIMEOUT,
    GZIP,
    MAX_BYTES,
    TOTAL_TIMEOUT_FACTOR,
    CorruptResponse,
    decode_body,
    time_limit,
    watch_socket,
)
from fedbbpt.web.route import Route

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


def configure_session(session: requests.Session, route: Route, connections: int, max_bytes: int = MAX_BYTES) -> None:
    """Makes a session follow the route, with a pool of connections, and limits its responses to `max_bytes`."""
    session.trust_env = False  # the route has read the environment
    session.proxies = dict.fromkeys(("http", "https"), route.proxy_url) if route.proxy_url else {}
    session.headers["Accept-Encoding"] = GZIP
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(route, connections, max_bytes))


def timeouts(seconds: float) -> tuple[float, float]:
    """The timeouts of `requests`, in seconds: to connect, and between two bytes."""
    return min(CONNECT_TIMEOUT, seconds), seconds


class _Adapter(HTTPAdapter):
    """Reads the whole response within its limits, even if a stream was asked for."""

    def __init__(self, route: Route, connections: int, max_bytes: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=connections)
        self._route, self._max_bytes = route, max_bytes

    def get_connection_with_tls_context(self, *args: Any, **named: Any) -> Any:
        """See `HTTPAdapter`; the sockets of its connections are watched."""
        pool = super().get_connection_with_tls_context(*args, **named)
        if not issubclass(pool.ConnectionCls, _Watched):
            pool.ConnectionCls = _watched(pool.ConnectionCls)
        return pool

    def build_connection_pool_key_attributes(self, *args: Any, **named: Any) -> Any:
        """See `HTTPAdapter`; the certificates are those of the route."""
        host, how = super().build_connection_pool_key_attributes(*args, **named)
        return host, how | {"ca_certs": None, "ca_cert_dir": None, "ssl_context": self._route.tls}

    def cert_verify(self, *_: Any) -> None:
        """See `HTTPAdapter`; no other certificates are added."""

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        """See `HTTPAdapter`."""
        to_proxy = {"proxy_ssl_context": self._route.tls} if proxy.startswith("https:") else {}
        return super().proxy_manager_for(proxy, **named, **to_proxy)

    def send(self, request: "PreparedRequest", *_: Any, **named: Any) -> "Response":
        """See `HTTPAdapter`.

        Raises:
            requests.RequestException: no whole response came in time; what came is its `response`.
            ResponseTooLarge: see `decode_body`.
        """
        response = None
        _connect, read = named["timeout"]
        try:
            with time_limit(TOTAL_TIMEOUT_FACTOR * read):
                response = super().send(request, **named | {"stream": True})
                self._route.on_response(response.status_code)
                chunks = response.raw.stream(CHUNK_BYTES, decode_content=False)
                encoding = response.headers.pop("Content-Encoding", "")
                response._content = decode_body(chunks, encoding, self._max_bytes)
                response._content_consumed = True
        except TimeoutError as e:
            raise requests.Timeout(e, request=request, response=response) from e
        except HTTPError as e:
            raise requests.ConnectionError(e, request=request, response=response) from e
        except CorruptResponse as e:
            raise requests.exceptions.ContentDecodingError(e, request=request, response=response) from e
        finally:
            if response is not None and not response._content_consumed:
                response.close()
        return response


class _Watched:
    """Watches the socket of a connection from when a response is awaited."""

    def getresponse(self) -> Any:
        watch_socket(getattr(self, "sock", None))
        return super().getresponse()  # type: ignore[misc]


@functools.cache
def _watched(connection: type) -> type:
    return type(connection.__name__, (_Watched, connection), {})

"""A transport for `httpx2` that follows a route and limits responses."""

from typing import Any

import httpcore2
import httpx2

from fedbbpt.web.response_limits import (
    CONNECT_TIMEOUT,
    MAX_BYTES,
    TOTAL_TIMEOUT_FACTOR,
    CorruptResponse,
    decode_body,
    time_limit,
    watch_socket,
)
from fedbbpt.web.route import Route


def make_client(route: Route, timeout: float, connections: int) -> httpx2.Client:
    """A client that follows the route, keeps its connections and follows no redirects; `timeout` in seconds."""
    return httpx2.Client(
        transport=_Transport(route, connections),
        timeout=httpx2.Timeout(timeout, connect=min(CONNECT_TIMEOUT, timeout)),
        trust_env=False,
    )


class _Transport(httpx2.HTTPTransport):
    """Reads the whole response within its limits."""

    def __init__(self, route: Route, connections: int) -> None:
        to_proxy = route.tls if route.proxy and route.proxy.url.scheme == "https" else None
        super().__init__(
            verify=route.tls or False,
            trust_env=False,
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
            proxy=httpx2.Proxy(route.proxy_url, ssl_context=to_proxy) if route.proxy_url else None,
        )
        self._route = route
        self._pool._network_backend = _Watched()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `HTTPTransport`.

        Raises:
            httpx2.HTTPError: no whole response came in time.
            ResponseTooLarge: see `decode_body`.
        """
        try:
            with time_limit(TOTAL_TIMEOUT_FACTOR * request.extensions["timeout"]["read"]):
                response = super().handle_request(request)
                self._route.on_response(response.status_code)
                stream = response.stream
                assert isinstance(stream, httpx2.SyncByteStream)
                try:
                    content = decode_body(stream, response.headers.pop("Content-Encoding", ""), MAX_BYTES)
                finally:
                    stream.close()
        except TimeoutError as e:
            raise httpx2.ReadTimeout(str(e), request=request) from e
        except CorruptResponse as e:
            raise httpx2.DecodingError(str(e), request=request) from e
        response.stream = httpx2.ByteStream(content)
        return response


class _Watched(httpcore2.SyncBackend):
    """Connections whose sockets are watched from when a response is awaited."""

    def connect_tcp(self, *args: Any, **named: Any) -> httpcore2.NetworkStream:
        return _Stream(super().connect_tcp(*args, **named))


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        watch_socket(self._inner.get_extra_info("socket"))
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, *args: Any, **named: Any) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(*args, **named))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

"""`requests` on a route."""

import functools
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from fedbbpt.web.policy import AS_LONG_AGAIN, MOST_BYTES, TO_CONNECT
from fedbbpt.web.response_limits import GZIP, PIECE, Torn, unpacked, watch, within
from fedbbpt.web.route import Route

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


def follow(session: requests.Session, route: Route, connections: int, most: int = MOST_BYTES) -> None:
    """From now on the session goes by the route, and its replies hold `most` bytes."""
    session.trust_env = False  # the route has looked at it
    session.proxies = dict.fromkeys(("http", "https"), route.proxy_url) if route.proxy_url else {}
    session.headers["Accept-Encoding"] = GZIP
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(route, connections, most))


def timeouts(seconds: float) -> tuple[float, float]:
    """To be reached, and until something comes."""
    return min(TO_CONNECT, seconds), seconds


class _Adapter(HTTPAdapter):
    """Reads the whole reply, within its bounds, whoever wanted a stream."""

    def __init__(self, route: Route, connections: int, most: int) -> None:
        super().__init__(pool_connections=1, pool_maxsize=connections)
        self._route, self._most = route, most

    def get_connection_with_tls_context(self, *args: Any, **named: Any) -> Any:
        """See `HTTPAdapter`; its connections are watched."""
        pool = super().get_connection_with_tls_context(*args, **named)
        if not issubclass(pool.ConnectionCls, _Watched):
            pool.ConnectionCls = _watched(pool.ConnectionCls)
        return pool

    def build_connection_pool_key_attributes(self, *args: Any, **named: Any) -> Any:
        """See `HTTPAdapter`; what is trusted is the route's."""
        host, how = super().build_connection_pool_key_attributes(*args, **named)
        return host, how | {"ca_certs": None, "ca_cert_dir": None, "ssl_context": self._route.tls}

    def cert_verify(self, *_: Any) -> None:
        """See `HTTPAdapter`; nothing else is trusted beside."""

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        """See `HTTPAdapter`."""
        to_proxy = {"proxy_ssl_context": self._route.tls} if proxy.startswith("https:") else {}
        return super().proxy_manager_for(proxy, **named, **to_proxy)

    def send(self, request: "PreparedRequest", *_: Any, **named: Any) -> "Response":
        """See `HTTPAdapter`.

        Raises:
            requests.RequestException: nothing came, or not all of it, or not in time; what did is its `response`.
            TooLong: more came than any reply should have.
        """
        response = None
        _connect, read = named["timeout"]
        try:
            with within(AS_LONG_AGAIN * read):
                response = super().send(request, **named | {"stream": True})
                self._route.meet(response.status_code)
                pieces = response.raw.stream(PIECE, decode_content=False)
                encoding = response.headers.pop("Content-Encoding", "")
                response._content = unpacked(pieces, encoding, self._most)
                response._content_consumed = True
        except TimeoutError as e:
            raise requests.Timeout(e, request=request, response=response) from e
        except HTTPError as e:
            raise requests.ConnectionError(e, request=request, response=response) from e
        except Torn as e:
            raise requests.exceptions.ContentDecodingError(e, request=request, response=response) from e
        finally:
            if response is not None and not response._content_consumed:
                response.close()
        return response


class _Watched:
    """A connection that is watched while a reply is awaited."""

    def getresponse(self) -> Any:
        watch(getattr(self, "sock", None))
        return super().getresponse()  # type: ignore[misc]


@functools.cache
def _watched(connection: type) -> type:
    return type(connection.__name__, (_Watched, connection), {})

"""The route to a service: its URL, proxy and trusted certificates, and connection errors as sentences."""

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from fedbbpt.errors import ConfigError, FedbbptError, MissingExtra
from fedbbpt.printing import excerpt
from fedbbpt.services import InvalidResponse, RequestFailed
from fedbbpt.web.response_limits import CONNECT_TIMEOUT, CorruptResponse, ResponseTooLarge
from fedbbpt.web.urls import ServiceUrl, parse_service_url, parse_url

PROXIES = ("http", "https", "socks5", "socks5h")
SOCKS_PACKAGES = ("socks", "socksio")  # that `requests` and `httpx2` need
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
PROXY_AUTH_REQUIRED, NO_PASSWORD = 407, "wants a name and a password"
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES)
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


class Proxy(NamedTuple):
    """A proxy, and the environment variable that names it."""

    url: ServiceUrl
    variable: str


class Route:
    """How a service is reached, the same for all HTTP libraries: proxies and certificates come from the environment.

    Local services are reached without a proxy, redirects are not followed, and `.netrc` is not read.

    Args:
        url: of the service.
        setting: the option that holds the URL, for errors.
        may_start_later: whether connections may be refused because the service has not been started yet.

    Raises:
        ConfigError: the URL, the proxy or the certificates cannot be used.
        MissingExtra: there is a SOCKS proxy, and the packages that speak to it are not installed.
    """

    def __init__(self, url: str, setting: str, *, may_start_later: bool = False) -> None:
        self.url = parse_service_url(url, setting)
        self._setting, self._may_start_later = setting, may_start_later
        self.proxy = None if self.url.is_local else _proxy(self.url)
        self.responded = False  # whether any response ever came
        encrypted = "https" in (self.url.scheme, self.proxy and self.proxy.url.scheme)
        self.tls = _tls() if encrypted else None

    @property
    def proxy_url(self) -> str | None:
        """The proxy's URL; a SOCKS proxy looks up host names itself."""
        return self.proxy and self.proxy.url.url.replace("socks5://", "socks5h://")

    def on_response(self, status: int) -> None:
        """Records a response; raises ConfigError if the proxy asks for a password."""
        self.responded = True
        if self.proxy and status == PROXY_AUTH_REQUIRED:
            raise self._proxy_error(self.proxy, NO_PASSWORD)

    def permanent_error(self, error: BaseException) -> FedbbptError | None:
        """The error as a sentence, if no retry mends it, else None.

        That the service cannot be reached is permanent as long as it has never responded.
        """
        causes = list(_causes(error))
        for one in causes:
            if isinstance(one, ssl.SSLCertVerificationError):
                return ConfigError(
                    f"{self._host} shows a certificate that is not trusted ({one.verify_message}); if it should be, "
                    "name a file with it in SSL_CERT_FILE"
                )
            if isinstance(one, ssl.SSLError) and getattr(one, "reason", None) in NO_TLS:
                return ConfigError(f"{self._host} does not speak TLS there; should {self._setting} begin with http://?")
        reason = None if self.responded else next(filter(None, map(self._unreachable, causes)), None)
        if self.proxy and any("Proxy" in type(one).__name__ for one in causes):
            refused = any(str(PROXY_AUTH_REQUIRED) in str(one) for one in causes)
            reason = NO_PASSWORD if refused else reason or (None if self.responded else "lets nobody through")
        if reason is None:
            return None
        if self.proxy:
            return self._proxy_error(self.proxy, reason)
        return ConfigError(f"{self._host} {reason}; look whether the service is up, and correct {self._setting} if not")

    def request_error(self, error: BaseException) -> FedbbptError | RequestFailed:
        """The error of a request that brought no response, as `Service.send` raises it."""
        if isinstance(error, ResponseTooLarge):
            return InvalidResponse(f"{self.url.redacted} answered with {error}; look whether {self._setting} is right")
        return self.permanent_error(error) or RequestFailed(f"{self.url.redacted} {self._broken(error)}")

    def _broken(self, error: BaseException) -> str:
        """How the response failed to come."""
        causes = list(_causes(error))
        if away := next(filter(None, map(self._unreachable, causes)), None):
            return away
        if any("Timeout" in type(one).__name__ for one in causes):
            return "did not answer in time"
        if any(isinstance(one, CorruptResponse) for one in causes):
            return "answered with compressed content that cannot be decompressed"
        maybe_tls = not self.responded and self.url.scheme == "http"
        other = f"; should {self._setting} begin with https://?" if maybe_tls else ""
        return f"cut the connection, or answered with what is no HTTP{other}"

    def _proxy_error(self, proxy: Proxy, reason: str) -> ConfigError:
        return ConfigError(
            f"the proxy {proxy.url.redacted} of {proxy.variable} {reason}; correct it, or name {self.url.host} in "
            "NO_PROXY"
        )

    @property
    def _host(self) -> str:
        return f"{self.url.host}:{self.url.port}"

    def _unreachable(self, error: BaseException) -> str | None:
        """Why the service was not reached; None if the error does not say that."""
        if isinstance(error, socket.gaierror):
            return f"cannot be found ({excerpt(error.strerror or str(error)).lower()})"
        if self._may_start_later:
            return None
        if isinstance(error, ConnectionRefusedError):
            return "refuses connections"
        if type(error).__name__ in ("ConnectTimeout", "ConnectTimeoutError"):
            return f"lets nobody in within {CONNECT_TIMEOUT:g} seconds"
        if isinstance(error, OSError) and error.errno in UNREACHABLE:
            return f"cannot be reached ({(error.strerror or str(error)).lower()})"
        return None


def _proxy(address: ServiceUrl) -> Proxy | None:
    from requests.utils import should_bypass_proxies

    if should_bypass_proxies(address.url, no_proxy=None):
        return None
    names = [(name, name.upper()) for name in (f"{address.scheme}_proxy", "all_proxy")]
    variable = next((one for pair in names for one in pair if os.environ.get(one, "").strip()), None)
    if variable is None:
        return None
    text = os.environ[variable].strip()
    try:
        proxy = parse_url(text if "://" in text else f"http://{text}", PROXIES)
    except ValueError as e:
        raise ConfigError(
            f"{variable} must be a proxy's address such as http://HOST:PORT, and {e}; correct it, or unset it"
        ) from None
    if proxy.scheme.startswith("socks") and (missing := [name for name in SOCKS_PACKAGES if find_spec(name) is None]):
        cause = ImportError(f"no module named {missing[0]!r}")
        raise MissingExtra(f"the proxy of {variable}, {proxy.redacted},", "socks", cause)
    return Proxy(proxy, variable)


def _tls() -> ssl.SSLContext:
    """A TLS context that trusts the certificates that environment variables name; certifi's, if none does."""
    named = {name: path for name in BUNDLES if (path := os.environ.get(name, "").strip())}
    if not named:
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, path in named.items():
        folder = Path(path).is_dir()
        if not Path(path).exists():
            raise ConfigError(f"{name} names {path}, which does not exist; correct it, or unset it")
        try:
            context.load_verify_locations(cafile=None if folder else path, capath=path if folder else None)
        except OSError as e:  # ssl.SSLError, too
            reason = "it holds no certificates" if isinstance(e, ssl.SSLError) else e.strerror or str(e)
            raise ConfigError(f"{name}={path} cannot be used ({reason.lower()}); correct it, or unset it") from None
    return context


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, which libraries wrap in several ways."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]

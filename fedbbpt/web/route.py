"""The way to a service: through which proxy, trusting which certificates, and what is said where it leads nowhere."""

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
from fedbbpt.web.policy import TO_CONNECT
from fedbbpt.web.response_limits import TooLong, Torn
from fedbbpt.web.urls import Address, parse, read_address

PROXIES = ("http", "https", "socks5", "socks5h")
FOR_SOCKS = ("socks", "socksio")  # what `requests` and `httpx2` want for it
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
PASSWORD, NO_PASSWORD = 407, "wants a name and a password"
NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EACCES)
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


class Proxy(NamedTuple):
    """What stands between, and the variable that says so."""

    address: Address
    variable: str


class Route:
    """How a service is reached, the same for all clients: what the environment says of proxies and certificates.

    No proxy leads to this machine itself, no redirect is followed, and no `.netrc` is read.

    An `awaited` service may not have been started yet.

    Raises:
        ConfigError: the address, the proxy's or the certificates cannot be used; `setting` says whose the address is.
        MissingExtra: there is a SOCKS proxy, and what speaks to it is not installed.
    """

    def __init__(self, url: str, setting: str, *, awaited: bool = False) -> None:
        self.address, self._setting, self._awaited = read_address(url, setting), setting, awaited
        self.proxy = None if self.address.local else _proxy(self.address)
        self.met = False  # whether anything ever came back
        encrypted = "https" in (self.address.scheme, self.proxy and self.proxy.address.scheme)
        self.tls = _tls() if encrypted else None

    @property
    def proxy_url(self) -> str | None:
        """The proxy's address; one of SOCKS looks up the host's name."""
        return self.proxy and self.proxy.address.url.replace("socks5://", "socks5h://")

    def meet(self, status: int) -> None:
        """Something came back; raises ConfigError if it is the proxy that asks for a password."""
        self.met = True
        if self.proxy and status == PASSWORD:
            raise self._no_way(self.proxy, NO_PASSWORD)

    def fault(self, error: BaseException) -> FedbbptError | None:
        """What no repetition mends, in a sentence; None where one may.

        What nobody can be reached for is such a thing as long as nothing has come back from there.
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
        reason = None if self.met else next(filter(None, map(self._unreachable, causes)), None)
        if self.proxy and any("Proxy" in type(one).__name__ for one in causes):
            refused = any(str(PASSWORD) in str(one) for one in causes)
            reason = NO_PASSWORD if refused else reason or (None if self.met else "lets nobody through")
        if reason is None:
            return None
        if self.proxy:
            return self._no_way(self.proxy, reason)
        return ConfigError(f"{self._host} {reason}; look whether the service is up, and correct {self._setting} if not")

    def outcome(self, error: BaseException) -> FedbbptError | RequestFailed:
        """What came of a request that ended with an error, as `Service.send` has it."""
        if isinstance(error, TooLong):
            return InvalidResponse(f"{self.address.shown} answered with {error}; look whether {self._setting} is right")
        return self.fault(error) or RequestFailed(f"{self.address.shown} {self._broken(error)}")

    def _broken(self, error: BaseException) -> str:
        """How an answer failed to come, in words."""
        causes = list(_causes(error))
        if away := next(filter(None, map(self._unreachable, causes)), None):
            return away
        if any("Timeout" in type(one).__name__ for one in causes):
            return "did not answer in time"
        if any(isinstance(one, Torn) for one in causes):
            return "answered with packed content that cannot be unpacked"
        other = "" if self.met or self.address.scheme == "https" else f"; should {self._setting} begin with https://?"
        return f"cut the connection, or answered with what is no HTTP{other}"

    def _no_way(self, proxy: Proxy, reason: str) -> ConfigError:
        return ConfigError(
            f"the proxy {proxy.address.shown} of {proxy.variable} {reason}; correct it, or name {self.address.host} in "
            "NO_PROXY"
        )

    @property
    def _host(self) -> str:
        return f"{self.address.host}:{self.address.port}"

    def _unreachable(self, error: BaseException) -> str | None:
        """Why nobody was reached; None if an error does not say that."""
        if isinstance(error, socket.gaierror):
            return f"cannot be found ({excerpt(error.strerror or str(error)).lower()})"
        if self._awaited:
            return None
        if isinstance(error, ConnectionRefusedError):
            return "refuses connections"
        if type(error).__name__ in ("ConnectTimeout", "ConnectTimeoutError"):
            return f"lets nobody in within {TO_CONNECT:g} seconds"
        if isinstance(error, OSError) and error.errno in NO_WAY:
            return f"cannot be reached ({(error.strerror or str(error)).lower()})"
        return None


def _proxy(address: Address) -> Proxy | None:
    from requests.utils import should_bypass_proxies

    if should_bypass_proxies(address.url, no_proxy=None):
        return None
    names = [(name, name.upper()) for name in (f"{address.scheme}_proxy", "all_proxy")]
    variable = next((one for pair in names for one in pair if os.environ.get(one, "").strip()), None)
    if variable is None:
        return None
    text = os.environ[variable].strip()
    try:
        proxy = parse(text if "://" in text else f"http://{text}", PROXIES)
    except ValueError as e:
        raise ConfigError(
            f"{variable} must be a proxy's address such as http://HOST:PORT, and {e}; correct it, or unset it"
        ) from None
    if proxy.scheme.startswith("socks") and (missing := [name for name in FOR_SOCKS if find_spec(name) is None]):
        cause = ImportError(f"no module named {missing[0]!r}")
        raise MissingExtra(f"the proxy of {variable}, {proxy.shown},", "socks", cause)
    return Proxy(proxy, variable)


def _tls() -> ssl.SSLContext:
    """TLS that trusts the certificates of all variables that name some; certifi's, if none does."""
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
    """An error and all that it stands for; libraries hide the first one in several ways."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]

"""URLs of services, checked before anything is sent."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from fedbbpt.errors import ConfigError
from fedbbpt.printing import excerpt

SCHEMES = ("http", "https")
PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
SECRETS = re.compile(r"(api|access|subscription|auth)?[-_]?(key|token|secret|password|sig)", re.IGNORECASE)


class ServiceUrl(NamedTuple):
    """A URL in its parts."""

    url: str
    scheme: str
    host: str
    port: int
    redacted: str  # without user name, password and query

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)


def parse_url(text: str, schemes: tuple[str, ...] = SCHEMES) -> ServiceUrl:
    """Splits a URL.

    >>> parse_url("https://user:pass@example.org/v1?key=1")[1:]
    ('https', 'example.org', 443, 'https://example.org/v1')

    Raises:
        ValueError: what is wrong with it, as half a sentence that shows no password.
    """
    text = text.strip()
    if not text:
        raise ValueError("it is empty")
    scheme, colon, rest = text.partition("://")
    if not colon:
        raise ValueError(
            f"{excerpt(_redacted(text))!r} has no scheme: is it {schemes[0]}://{excerpt(_redacted(text))}?"
        )
    shown = excerpt(f"{scheme}://{_redacted(rest)}")
    if scheme.lower() not in schemes:
        raise ValueError(f"{shown!r} begins with none of {', '.join(f'{one}://' for one in schemes)}")
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{shown!r} holds blanks or control characters")
    parts = _split(text, shown)
    host = _checked_host(parts.hostname, shown)
    port = parts.port or PORTS[parts.scheme]
    return ServiceUrl(text, parts.scheme, host, port, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def parse_service_url(text: str, setting: str) -> ServiceUrl:
    """Splits the URL of a service, which the named setting holds.

    Raises:
        ConfigError: it is not one of HTTP, or holds a secret or a fragment; URLs are shown and stored.
    """
    try:
        address = parse_url(text)
    except ValueError as e:
        raise ConfigError(f"{setting} must be an address such as http://127.0.0.1:8000/v1, and {e}") from None
    parts = urlsplit(address.url)
    secrets = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if SECRETS.fullmatch(name)]
    if "@" in parts.netloc:
        raise ConfigError(
            f"{setting} must not hold a name or a password before {address.redacted}: addresses are shown and kept; "
            "give it as a key"
        )
    if secrets:
        raise ConfigError(
            f"{setting} must not hold a secret ({excerpt(secrets[0])}=…): addresses are shown and kept; give "
            "it as a key"
        )
    if parts.fragment:
        raise ConfigError(f"{setting} must end before its #: {address.redacted}")
    return address


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def join_path(base: str, path: str) -> str:
    """Appends a path to a URL's path.

    >>> join_path("http://localhost/v1/?api-version=2", "/chat")
    'http://localhost/v1/chat?api-version=2'
    """
    parts = urlsplit(base)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))


def redact_url(url: str) -> str:
    """Removes what may be secret from a URL that a service names: user name, password, query and fragment."""
    scheme, colon, rest = url.partition("://")
    return (scheme + colon + _redacted(rest) if colon else url.partition("?")[0]).partition("#")[0]


def _split(text: str, shown: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.hostname
    except ValueError as e:
        raise ValueError(f"{shown!r} has a host that is none ({excerpt(str(e)).lower()})") from None
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{shown!r} has a port that is no number from 1 to 65535")
    return parts


def _checked_host(host: str | None, shown: str) -> str:
    if not host:
        raise ValueError(f"{shown!r} names no host")
    import idna

    try:
        if not host.isascii():
            idna.encode(host, uts46=True)
        elif ":" not in host:
            host.encode("idna")  # which looks at the length of its parts
    except UnicodeError:
        raise ValueError(f"{shown!r} has a host with a part that is empty, too long or of other signs") from None
    return host


def _redacted(rest: str) -> str:
    """What follows the scheme, without user name, password and query."""
    authority, slash, path = rest.partition("/")
    return authority.rpartition("@")[2] + slash + path.partition("?")[0]

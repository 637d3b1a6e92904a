"""Addresses of services, looked at before anybody is asked."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from fedbbpt.errors import ConfigError
from fedbbpt.printing import excerpt

SCHEMES = ("http", "https")
PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
SECRETS = re.compile(r"(api|access|subscription|auth)?[-_]?(key|token|secret|password|sig)", re.IGNORECASE)


class Address(NamedTuple):
    """An address in its parts."""

    url: str
    scheme: str
    host: str
    port: int
    shown: str  # without name, password and query

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)


def parse(text: str, schemes: tuple[str, ...] = SCHEMES) -> Address:
    """The parts of an address.

    Raises:
        ValueError: what is wrong with it, as half a sentence that shows no password.
    """
    text = text.strip()
    if not text:
        raise ValueError("it is empty")
    scheme, colon, rest = text.partition("://")
    if not colon:
        raise ValueError(f"{excerpt(_public(text))!r} has no scheme: is it {schemes[0]}://{excerpt(_public(text))}?")
    shown = excerpt(f"{scheme}://{_public(rest)}")
    if scheme.lower() not in schemes:
        raise ValueError(f"{shown!r} begins with none of {', '.join(f'{one}://' for one in schemes)}")
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(f"{shown!r} holds blanks or control characters")
    parts = _split(text, shown)
    host = _checked(parts.hostname, shown)
    port = parts.port or PORTS[parts.scheme]
    return Address(text, parts.scheme, host, port, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def read_address(text: str, setting: str) -> Address:
    """The address of a service, as a setting names it.

    Raises:
        ConfigError: it is none of HTTP, or holds what others must not see; addresses are shown and kept.
    """
    try:
        address = parse(text)
    except ValueError as e:
        raise ConfigError(f"{setting} must be an address such as http://127.0.0.1:8000/v1, and {e}") from None
    parts = urlsplit(address.url)
    secrets = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if SECRETS.fullmatch(name)]
    if "@" in parts.netloc:
        raise ConfigError(
            f"{setting} must not hold a name or a password before {address.shown}: addresses are shown and kept; give "
            "it as a key"
        )
    if secrets:
        raise ConfigError(
            f"{setting} must not hold a secret ({excerpt(secrets[0])}=…): addresses are shown and kept; give "
            "it as a key"
        )
    if parts.fragment:
        raise ConfigError(f"{setting} must end before its #: {address.shown}")
    return address


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def below(base: str, path: str) -> str:
    """The address of a path below another; a query (`?api-version=…`) stays where it belongs, at the end."""
    parts = urlsplit(base)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))


def public(url: str) -> str:
    """An address that a service names, without what may be secret: name, password, query and fragment."""
    scheme, colon, rest = url.partition("://")
    return (scheme + colon + _public(rest) if colon else url.partition("?")[0]).partition("#")[0]


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


def _checked(host: str | None, shown: str) -> str:
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


def _public(rest: str) -> str:
    """An address behind its scheme, without name and password."""
    authority, slash, path = rest.partition("/")
    return authority.rpartition("@")[2] + slash + path.partition("?")[0]

"""Where a service listens, and the token that opens it."""

import ipaddress
import os
import socket
from pathlib import Path

from fedbbpt.errors import ConfigError
from fedbbpt.web.credentials import key_from, key_of

VARIABLE = "FEDBBPT_TOKEN"


def read_token(file: Path | None) -> str | None:
    """The token of a file, else of the environment, if there is one.

    Raises:
        ConfigError: the file cannot be read, or others may read it; or what is there is no token.
    """
    if file is not None:
        return key_from(file, "token")
    token = os.environ.get(VARIABLE)
    return None if token is None else key_of(token, f"${VARIABLE}", "token")


def bound(host: str, port: int, token: str | None) -> socket.socket:
    """A socket that has its address (port 0: a free one), and does not listen yet.

    Raises:
        ConfigError: others could reach it without a token, or the address cannot be had.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached by others, so a token is needed: set ${VARIABLE} or give --token-file, or "
            "leave out --host"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio turns off Nagle's delay of such
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
    except OSError as e:
        opened.close()
        reason = (e.strerror or str(e)).lower()
        raise ConfigError(f"cannot listen on {host} port {port} ({reason}); give another --host or --port") from e
    return opened


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url(listening: socket.socket) -> str:
    """Where it is asked."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

"""The socket of a service, before it listens."""

import socket

import pytest

from fedbbpt.errors import ConfigError
from fedbbpt.serve.server import bind, url_of


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", ""])
def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="a token is needed"):
        bind(host, 0, None)


def test_with_a_token_any_address_is_bound() -> None:
    with bind("0.0.0.0", 0, "token") as opened:
        assert opened.getsockname()[1] > 0


def test_a_bound_socket_does_not_listen_yet() -> None:
    with bind("127.0.0.1", 0, None) as opened:
        address = opened.getsockname()
        assert url_of(opened) == f"http://127.0.0.1:{address[1]}"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


def test_a_port_in_use_is_reported() -> None:
    with bind("127.0.0.1", 0, None) as taken:
        taken.listen()
        with pytest.raises(ConfigError, match="another --host or --port"):
            bind("127.0.0.1", taken.getsockname()[1], None)

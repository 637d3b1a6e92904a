"""Who may reach a service, before there is one."""

import socket
from pathlib import Path

import pytest

from fedbbpt.access import VARIABLE, bound, is_loopback, read_token, url
from fedbbpt.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def _file(folder: Path, contents: bytes, mode: int = 0o600) -> Path:
    file = folder / "token"
    file.write_bytes(contents)
    file.chmod(mode)
    return file


def test_a_token_is_read_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_token(None) is None
    monkeypatch.setenv(VARIABLE, "from-the-environment")
    assert read_token(None) == "from-the-environment"
    assert read_token(_file(tmp_path, b"from-a-file\n")) == "from-a-file"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o700])
def test_a_token_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="chmod 600") as refused:
        read_token(_file(tmp_path, b"secret", mode))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("contents", [b"", b" \n", b"two secret words", "gehéim".encode(), b"\xff\xfe"])
def test_what_is_no_token_is_refused_without_being_said(tmp_path: Path, contents: bytes) -> None:
    with pytest.raises(ConfigError, match="holds no token") as refused:
        read_token(_file(tmp_path, contents))
    assert "secret" not in str(refused.value)


def test_an_empty_variable_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(ConfigError, match=VARIABLE):
        read_token(None)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the token"):
        read_token(tmp_path / "nothing")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", ""])
def test_what_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="a token is needed"):
        bound(host, 0, None)


def test_with_a_token_any_address_is_taken() -> None:
    with bound("0.0.0.0", 0, "token") as opened:
        assert opened.getsockname()[1] > 0


def test_a_bound_socket_does_not_listen_yet() -> None:
    with bound("127.0.0.1", 0, None) as opened:
        address = opened.getsockname()
        assert url(opened) == f"http://127.0.0.1:{address[1]}"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


def test_a_port_that_is_taken_is_said() -> None:
    with bound("127.0.0.1", 0, None) as taken:
        taken.listen()
        with pytest.raises(ConfigError, match="another --host or --port"):
            bound("127.0.0.1", taken.getsockname()[1], None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)

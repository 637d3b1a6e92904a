"""Slow clients, those that read nothing and those that go on after a refusal lose their connections."""

import time
from contextlib import suppress
from typing import Any

import pytest

from fedbbpt.serve import RequestLimits, server

GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def test_a_slow_body_times_out(serving: Any, texts: Any, send_raw: Any) -> None:
    with serving(texts, limits=RequestLimits(body_timeout=0.2)) as url:
        response = send_raw(url, POST % 1000)
        assert response.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.2 seconds" in response


@pytest.mark.parametrize("before", [b"", GET % b"/healthz"])
def test_slow_headers_time_out(
    serving: Any, texts: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT", 0.2)
    with serving(texts) as url, connect(url) as connection:
        connection.sendall(before)
        if before:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012 - which byte meets it is open
            for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 1000:  # for 20 seconds
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        assert 0.2 <= time.monotonic() - start < 10


def test_an_unread_response_times_out(serving: Any, texts: Any, connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WRITE_TIMEOUT", 0.2)
    with serving(texts) as url, connect(url) as connection:
        connection.setblocking(False)
        until = time.monotonic() + 5
        with pytest.raises(ConnectionError):  # noqa: PT012 - it asks and asks, and reads nothing
            while time.monotonic() < until:
                with suppress(BlockingIOError):
                    connection.send(GET % b"/openapi.json")
                time.sleep(0.0005)


def test_the_rest_of_a_refused_body_times_out(
    serving: Any, texts: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT", 0.2)
    monkeypatch.setattr(server, "KEEP_ALIVE_TIMEOUT", 60)
    with serving(texts) as url, connect(url) as connection:
        connection.sendall(POST % (10**9))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
            for _ in range(200):
                connection.sendall(b"a")
                time.sleep(0.02)

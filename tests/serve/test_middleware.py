"""Requests that are too large or too many, or no proper HTTP, are refused, and the service survives them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from fedbbpt.serve import RequestLimits, middleware


@pytest.fixture(scope="module")
def small_bodies(serving: Any, make_texts: Any) -> Iterator[str]:
    """The URL of a service that takes bodies of at most 64 KiB."""
    with serving(make_texts(), limits=RequestLimits(max_body=65_536)) as url:
        yield url


def _request(line: str, body: bytes = b"", **headers: Any) -> bytes:
    all_headers = {"Host": "localhost", "Connection": "close", "Content-Length": len(body)} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    return f"{line} HTTP/1.1\r\n{head}\r\n".encode() + body


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: localhost\r\n"], ids=["absent", "doubled"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_exactly_one_host_header_is_required(small_bodies: str, send_raw: Any, hosts: bytes, version: bytes) -> None:
    line = b"GET /healthz HTTP/" + version + b"\r\n"
    assert send_raw(small_bodies, line + hosts + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 40")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/../v1/models", 404),
        ("//v1/models", 404),
        ("/v1/%2e%2e/v1/models", 404),
        ("/v1/models/", 404),
        ("/v1/models%0a", 404),
        ("/v1/models%00", 404),
        ("/V1/models", 404),
        ("/..%2f..%2fetc/passwd", 404),
        ("/%ff%fe", 404),
        ("http://x/v1/models", 404),
        ("*", 404),
        ("/" + "a" * 60_000, 404),
        ("/" + "a" * 200_000, 400),
        ("/v1/models?x=%ff", 200),
    ],
    ids=range(14),
)
def test_paths_are_taken_literally(small_bodies: str, send_raw: Any, path: str, status: int) -> None:
    assert send_raw(small_bodies, _request(f"GET {path}")).startswith(f"HTTP/1.1 {status} ".encode())
    assert httpx2.get(f"{small_bodies}/healthz").status_code == 200


HOSTILE = {
    "wrong method": (_request("GET /v1/classify"), 405),
    "unknown method": (_request("BREW /v1/classify"), 405),
    "no body": (_request("POST /v1/classify"), 400),
    "invalid UTF-8": (_request("POST /v1/classify", b'{"inputs": ["\xff\xfe"]}'), 400),
    "deep JSON": (_request("POST /v1/classify", b'{"inputs": ' + b"[" * 50_000), 400),
    "too large by its header": (_request("POST /v1/classify", b"{}", **{"Content-Length": 10**12}), 413),
    "negative length": (_request("POST /v1/classify", b"{}", **{"Content-Length": -1}), 400),
    "too large": (_request("POST /v1/classify", b'{"inputs": ["' + b"a" * 100_000 + b'"]}'), 413),
    "too many": (_request("POST /v1/classify", b'{"inputs": [' + b'"",' * 4096 + b'""]}'), 413),
    "too large in chunks": (
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 2
        + b"0\r\n\r\n",
        413,
    ),
    "too many values": (_request("POST /v1/classify", b'{"inputs": [' + b'"",' * 30_000 + b'""]}'), 413),
    "bad chunks": (
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
    ),
    "gzip": (_request("POST /v1/classify", b"\x1f\x8b\x08\x00", **{"Content-Encoding": "gzip"}), 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "WebSocket": (
        _request("GET /v1/models", Connection="Upgrade, close", Upgrade="websocket", **{"Sec-WebSocket-Version": 13}),
        200,
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_requests_are_refused_and_survived(small_bodies: str, send_raw: Any, name: str) -> None:
    data, status = HOSTILE[name]
    assert send_raw(small_bodies, data).startswith(f"HTTP/1.1 {status} ".encode())
    assert httpx2.post(f"{small_bodies}/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_a_small_body_does_not_wait_for_slow_large_ones(serving: Any, texts: Any, connect: Any) -> None:
    with serving(texts) as url, ExitStack() as connections:
        for _ in range(6):
            slow = connections.enter_context(connect(url))
            slow.sendall(_request("POST /v1/classify", **{"Content-Length": RequestLimits().max_body}))
        assert httpx2.post(f"{url}/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_large_bodies_wait_for_memory(serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "SMALL_BODY", 0)
    body = b'{"inputs": ["' + b"a" * 60_000 + b'"]}'
    with serving(texts, limits=RequestLimits(max_body=65_536)) as url:
        texts.gate.clear()
        with ThreadPoolExecutor(8) as pool:
            requests = [pool.submit(httpx2.post, f"{url}/v1/classify", content=body) for _ in range(8)]
            texts.entered.acquire()
            time.sleep(0.3)
            assert len(texts.batches) == 1
            texts.gate.set()
            assert [one.result().status_code for one in requests] == [200] * 8
        assert max(map(len, texts.batches)) <= 4

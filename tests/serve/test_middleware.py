"""Requests without the token, from web pages, and with hostile contents are refused."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from fedbbpt.serve import RequestLimits, middleware, server

TOKEN = "correct-horse"


@pytest.fixture(scope="module")
def small_bodies(serving: Any, make_texts: Any) -> Iterator[str]:
    """The URL of a service that takes bodies of at most 64 KiB."""
    with serving(make_texts(), limits=RequestLimits(max_body=65_536)) as url:
        yield url


@pytest.fixture(scope="module")
def with_token(serving: Any, make_texts: Any) -> Iterator[str]:
    """The URL of a service with a token."""
    with serving(make_texts(), token=TOKEN) as url:
        yield url


def _connection(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=5)


def _raw(url: str, data: bytes) -> bytes:
    """The response, until the service closes the connection, to bytes that no HTTP client would send."""
    reply = b""
    with _connection(url) as connection:
        connection.sendall(data)
        with suppress(ConnectionResetError):  # if it has not read all of them
            while more := connection.recv(65536):
                reply += more
    return reply


def _request(line: str, body: bytes = b"", **headers: Any) -> bytes:
    all_headers = {"Host": "localhost", "Connection": "close", "Content-Length": len(body)} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    return f"{line} HTTP/1.1\r\n{head}\r\n".encode() + body


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer"},
    ],
)
def test_without_the_token_only_health_is_answered(with_token: str, headers: Any) -> None:
    with httpx2.Client(base_url=with_token, headers=headers) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
            assert client.get(path).status_code == 401
        refused = client.post("/v1/classify", json={"inputs": ["a"]})
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"


def test_with_the_token_all_routes_are_answered(with_token: str) -> None:
    headers = {"Authorization": f"bearer {TOKEN}", "Origin": "http://localhost"}
    with httpx2.Client(base_url=with_token, headers=headers) as client:
        assert "fedbbpt_queries_total 0" in client.get("/metrics").text  # requests without the token reached no model
        assert client.get("/v1/models").status_code == 200
        assert client.post("/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_without_a_token_web_pages_are_refused(client: httpx2.Client, texts: Any) -> None:
    refused = client.post("/v1/classify", json={"inputs": ["a"]}, headers={"Origin": "http://elsewhere"})
    assert refused.status_code == 403
    assert texts.batches == []


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
    ids=lambda headers: "-".join(*headers.items()),
)
def test_web_pages_are_recognised_by_any_browser_header(client: httpx2.Client, headers: Any) -> None:
    assert client.get("/metrics", headers=headers).status_code == 403


def test_a_url_typed_into_a_browser_is_answered(client: httpx2.Client) -> None:
    assert client.get("/metrics", headers={"Sec-Fetch-Site": "none"}).status_code == 200


OURS = ["127.0.0.1", "127.0.0.1:80", "localhost", "LOCALHOST:8000", "[::1]", "[::1]:8000", "127.1.2.3:"]
OTHERS = ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "x@127.0.0.1"]
MALFORMED = ["", "::1", "0.0.0.0", "127.0.0.1:80:80", "127.0.0.1:x", "[::1", "127.0.0.1@x", "localhost/", "192.168.0.1"]


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/healthz", "/nowhere"])
def test_without_a_token_only_local_hosts_are_answered(small_bodies: str, path: str) -> None:
    for host in OURS:
        assert b" 403 " not in _raw(small_bodies, _request(f"GET {path}", Host=host)).splitlines()[0]
    for host in OTHERS + MALFORMED:
        assert _raw(small_bodies, _request(f"GET {path}", Host=host)).startswith(b"HTTP/1.1 4")


def test_another_host_gets_a_reason(small_bodies: str) -> None:
    refused = httpx2.get(f"{small_bodies}/v1/models", headers={"Host": "evil.example"})
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "host"


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: localhost\r\n"], ids=["absent", "doubled"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_exactly_one_host_header_is_required(small_bodies: str, hosts: bytes, version: bytes) -> None:
    line = b"GET /healthz HTTP/" + version + b"\r\n"
    assert _raw(small_bodies, line + hosts + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 40")


def test_with_a_token_any_host_is_answered(with_token: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "models.example"}
    assert httpx2.get(f"{with_token}/v1/models", headers=headers).status_code == 200


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
def test_paths_are_taken_literally(small_bodies: str, path: str, status: int) -> None:
    assert _raw(small_bodies, _request(f"GET {path}")).startswith(f"HTTP/1.1 {status} ".encode())
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
def test_hostile_requests_are_refused_and_survived(small_bodies: str, name: str) -> None:
    data, status = HOSTILE[name]
    assert _raw(small_bodies, data).startswith(f"HTTP/1.1 {status} ".encode())
    assert httpx2.post(f"{small_bodies}/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_a_slow_body_times_out(serving: Any, texts: Any) -> None:
    with serving(texts, limits=RequestLimits(body_timeout=0.2)) as url:
        reply = _raw(url, _request("POST /v1/classify", Connection="keep-alive", **{"Content-Length": 1000}))
        assert reply.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.2 seconds" in reply


@pytest.mark.parametrize("before", [b"", _request("GET /healthz", Connection="keep-alive")])
def test_slow_headers_time_out(serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT", 0.2)
    with serving(texts) as url, _connection(url) as connection:
        connection.sendall(before)
        if before:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012 - which byte meets it is open
            for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        assert 0.2 <= time.monotonic() - start < 2


def test_an_unread_response_times_out(serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WRITE_TIMEOUT", 0.2)
    with serving(texts) as url, _connection(url) as connection:
        request = _request("GET /openapi.json", Connection="keep-alive")
        connection.setblocking(False)
        until = time.monotonic() + 5
        with pytest.raises(ConnectionError):  # noqa: PT012 - it asks and asks, and reads nothing
            while time.monotonic() < until:
                with suppress(BlockingIOError):
                    connection.send(request)
                time.sleep(0.0005)


def test_a_small_body_does_not_wait_for_slow_large_ones(serving: Any, texts: Any) -> None:
    with serving(texts) as url, ExitStack() as connections:
        for _ in range(6):
            slow = connections.enter_context(_connection(url))
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
        assert sum(map(len, texts.batches[:2])) <= 4


def test_the_rest_of_a_refused_body_times_out(serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT", 0.2)
    monkeypatch.setattr(server, "KEEP_ALIVE_TIMEOUT", 60)
    with serving(texts) as url, _connection(url) as connection:
        connection.sendall(_request("POST /v1/classify", Connection="keep-alive", **{"Content-Length": 10**9}))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
            for _ in range(200):
                connection.sendall(b"a")
                time.sleep(0.02)

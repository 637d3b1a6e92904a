"""A service over HTTP: its routes, what it refuses, and that it stays alive."""

import base64
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
from PIL import Image

from fedbbpt.data.texts import as_texts
from fedbbpt.serve import Limits, listening

TOKEN = "correct-horse"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def careful(serving: Any, make_texts: Any) -> Iterator[str]:
    """The URL of a service that takes bodies of at most 64 KiB."""
    with serving(make_texts(), limits=Limits(body=65_536)) as where:
        yield where


@pytest.fixture(scope="module")
def locked(serving: Any, make_texts: Any) -> Iterator[str]:
    """The URL of a service that wants a token."""
    with serving(make_texts(), token=TOKEN) as where:
        yield where


def _connection(where: str) -> socket.socket:
    address = urlsplit(where)
    return socket.create_connection((address.hostname, address.port), timeout=5)


def _raw(where: str, data: bytes) -> bytes:
    """All that comes back, until the service closes the connection, for bytes that no HTTP client would send."""
    reply = b""
    with _connection(where) as connection:
        connection.sendall(data)
        with suppress(ConnectionResetError):  # where it has not read all of them
            while more := connection.recv(65536):
                reply += more
    return reply


def _request(line: str, body: bytes = b"", **headers: Any) -> bytes:
    said = {"Host": "x", "Connection": "close", "Content-Length": len(body)} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"{line} HTTP/1.1\r\n{head}\r\n".encode() + body


def _wait_until_in_flight(client: httpx2.Client, requests: int) -> None:
    """Until so many are, beside the one that asks."""
    while _metric(client, "fedbbpt_requests_in_flight") <= requests:
        time.sleep(0.01)
    time.sleep(0.2)  # from the guard to the model's queue


def _metric(client: httpx2.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


def test_scores_are_those_of_the_backend_in_the_same_process(asking: httpx2.Client, make_texts: Any) -> None:
    names = list("abcdefghi")
    said = asking.post("/v1/classify", json={"inputs": names}).json()
    here = make_texts()
    parts = [here.query(as_texts(names[i : i + 4])).scores for i in (0, 4, 8)]
    assert np.float32(said["scores"]).tobytes() == np.concatenate(parts).tobytes()
    assert said["usage"] == {"queries": 9, "tokens": 9, "written": 9}


def test_requests_of_several_connections_share_calls(asking: httpx2.Client, texts: Any) -> None:
    texts.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(asking.post, "/v1/classify", json={"inputs": ["first"]})
        texts.entered.acquire()
        others = [pool.submit(asking.post, "/v1/classify", json={"inputs": [name]}) for name in "abcd"]
        _wait_until_in_flight(asking, 5)
        texts.gate.set()
        assert {one.result().status_code for one in [first, *others]} == {200}
    assert len(texts.calls) == 2
    assert sorted(texts.calls[1]) == list("abcd")


def test_replies_are_not_held_back(asking: httpx2.Client) -> None:
    asking.get("/healthz")
    start = time.monotonic()
    for _ in range(20):
        asking.get("/healthz")
    assert time.monotonic() - start < 20 * 0.03  # Nagle's algorithm holds the end of each back for 40 ms


def test_health_does_not_wait_for_the_model(asking: httpx2.Client, texts: Any) -> None:
    texts.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(asking.post, "/v1/classify", json={"inputs": ["a"]})
        texts.entered.acquire()
        start = time.monotonic()
        assert asking.get("/healthz").json() == {"status": "ok"}
        assert time.monotonic() - start < 1
        assert not blocked.done()
        texts.gate.set()


def test_a_repeated_request_is_not_computed_again(asking: httpx2.Client, texts: Any) -> None:
    def ask(**more: Any) -> Any:
        return asking.post("/v1/completions", json={"prompt": ["a", "b"]}, headers={"Idempotency-Key": "k"}, **more)

    first, again = ask(), ask()
    assert first.content == again.content  # with its id
    assert (first.headers["idempotent-replayed"], again.headers["idempotent-replayed"]) == ("false", "true")
    assert len(texts.calls) == 1
    assert _metric(asking, "fedbbpt_queries_total") == 2
    other = asking.post("/v1/completions", json={"prompt": "c"}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 422
    elsewhere = asking.post("/v1/classify", json={"inputs": ["c"]}, headers={"Idempotency-Key": "k"})
    assert elsewhere.status_code == 422


def test_a_request_that_is_repeated_meanwhile_waits(asking: httpx2.Client, texts: Any) -> None:
    texts.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        body = {"json": {"inputs": ["a"]}, "headers": {"Idempotency-Key": "k"}}
        asked = [pool.submit(asking.post, "/v1/classify", **body) for _ in range(4)]
        texts.entered.acquire()
        texts.gate.set()
        assert len({one.result().content for one in asked}) == 1
    assert len(texts.calls) == 1


def test_a_failure_of_the_model_says_and_logs_nothing_of_the_text(
    asking: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        failed = asking.post("/v1/classify?secret", json={"inputs": ["broken"]}, headers={"Idempotency-Key": "k"})
    assert failed.status_code == 500
    assert failed.json()["error"]["type"] == "server_error"
    logged = " ".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert "POST /v1/classify: RuntimeError in conftest.py" in logged
    assert "secret" not in logged + failed.text
    assert "broken" not in logged + failed.text
    again = asking.post("/v1/classify?secret", json={"inputs": ["broken"]}, headers={"Idempotency-Key": "k"})
    assert again.status_code == 500  # a failure is not kept as a reply


def test_what_the_model_cannot_read_is_the_requests_fault(asking: httpx2.Client) -> None:
    refused = asking.post("/v1/classify", json={"inputs": ["unreadable"]})
    assert refused.status_code == 400
    assert "the model reads 8" in refused.json()["error"]["message"]


def test_images_are_classified(serving: Any, fake_backend: Any, tmp_path: Any) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    encoded = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    with serving(fake_backend) as where, httpx2.Client(base_url=where) as client:
        said = client.post("/v1/classify", json={"inputs": [encoded]}).json()
        uri = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
        chat = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": [uri]}]}).json()
        far = uri | {"image_url": {"url": "http://127.0.0.1:1/a.png"}}
        content: Any
        for content in ("no image", [uri, uri], [far]):
            refused = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]})
            assert refused.status_code == 400
        for path, body in (("completions", {"prompt": "a"}), ("embeddings", {"input": encoded})):
            assert client.post(f"/v1/{path}", json=body).status_code == 400
        assert client.get("/v1/models").json()["data"][0]["modality"] == "image"
    image = pixels.transpose(2, 0, 1).astype(np.float32)[None] / np.float32(255)
    scores = fake_backend.query(image).scores
    assert np.float32(said["scores"]).tobytes() == scores.tobytes()
    assert chat["choices"][0]["message"]["content"] == ("red", "green", "blue")[int(scores.argmax())]


def test_the_model_is_described_and_named(asking: httpx2.Client) -> None:
    (model,) = asking.get("/v1/models").json()["data"]
    assert model["id"] == "fake-texts"
    assert model["words"] == ["fine", "bad", "odd"]
    assert model["batch_limit"] == 4
    other = asking.post("/v1/classify", json={"inputs": ["a"], "model": "another"})
    assert other.status_code == 404
    assert other.json()["error"]["code"] == "model_not_found"


def test_metrics_say_what_was_asked(asking: httpx2.Client) -> None:
    asking.post("/v1/classify", json={"inputs": list("abcde")})
    asking.get("/nowhere")
    text = asking.get("/metrics").text
    for line in (
        'fedbbpt_requests_total{route="/v1/classify",status="200"} 1',
        'fedbbpt_requests_total{route="other",status="404"} 1',
        "fedbbpt_queries_total 5",
        "fedbbpt_tokens_total 5",
        'fedbbpt_batch_size_bucket{le="1"} 1',
        'fedbbpt_batch_size_bucket{le="4"} 2',
        'fedbbpt_batch_size_bucket{le="+Inf"} 2',
        "fedbbpt_batch_size_sum 5",
        "fedbbpt_requests_in_flight 1",
    ):
        assert line in text.splitlines()


def test_too_many_at_a_time_are_asked_to_come_again(serving: Any, texts: Any) -> None:
    texts.gate.clear()
    with (
        serving(texts, limits=Limits(concurrency=1)) as where,
        httpx2.Client(base_url=where) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        inside = pool.submit(client.post, "/v1/classify", json={"inputs": ["a"]})
        texts.entered.acquire()
        refused = client.post("/v1/classify", json={"inputs": ["b"]})
        texts.gate.set()
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert inside.result().status_code == 200
        assert client.post("/v1/classify", json={"inputs": ["c"]}).status_code == 200


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
def test_without_the_token_only_health_is_told(locked: str, headers: Any) -> None:
    with httpx2.Client(base_url=locked, headers=headers) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
            assert client.get(path).status_code == 401
        refused = client.post("/v1/classify", json={"inputs": ["a"]})
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"


def test_with_the_token_everything_is(locked: str) -> None:
    headers = {"Authorization": f"bearer {TOKEN}", "Origin": "http://localhost"}
    with httpx2.Client(base_url=locked, headers=headers) as client:
        assert _metric(client, "fedbbpt_queries_total") == 0  # of all that came without it
        assert client.get("/v1/models").status_code == 200
        assert client.post("/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_a_page_in_a_browser_may_not_ask_a_service_without_token(asking: httpx2.Client, texts: Any) -> None:
    refused = asking.post("/v1/classify", json={"inputs": ["a"]}, headers={"Origin": "http://elsewhere"})
    assert refused.status_code == 403
    assert texts.calls == []


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
def test_paths_are_taken_literally(careful: str, path: str, status: int) -> None:
    assert _raw(careful, _request(f"GET {path}")).startswith(f"HTTP/1.1 {status} ".encode())
    assert httpx2.get(f"{careful}/healthz").status_code == 200


HOSTILE = {
    "wrong method": (_request("GET /v1/classify"), 405),
    "unknown method": (_request("BREW /v1/classify"), 405),
    "no body": (_request("POST /v1/classify"), 400),
    "invalid UTF-8": (_request("POST /v1/classify", b'{"inputs": ["\xff\xfe"]}'), 400),
    "deep JSON": (_request("POST /v1/classify", b'{"inputs": ' + b"[" * 50_000), 400),
    "too large by its own word": (_request("POST /v1/classify", b"{}", **{"Content-Length": 10**12}), 413),
    "negative length": (_request("POST /v1/classify", b"{}", **{"Content-Length": -1}), 400),
    "too large": (_request("POST /v1/classify", b'{"inputs": ["' + b"a" * 100_000 + b'"]}'), 413),
    "too many": (_request("POST /v1/classify", b'{"inputs": [' + b'"",' * 4096 + b'""]}'), 413),
    "too large in chunks": (
        b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 2
        + b"0\r\n\r\n",
        413,
    ),
    "bad chunks": (
        b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
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
def test_hostile_requests_are_refused_and_survived(careful: str, name: str) -> None:
    data, status = HOSTILE[name]
    assert _raw(careful, data).startswith(f"HTTP/1.1 {status} ".encode())
    assert httpx2.post(f"{careful}/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_a_body_that_trickles_is_given_up(serving: Any, texts: Any) -> None:
    with serving(texts, limits=Limits(body_seconds=0.2)) as where:
        reply = _raw(where, _request("POST /v1/classify", Connection="keep-alive", **{"Content-Length": 1000}))
        assert reply.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.2 seconds" in reply


@pytest.mark.parametrize("before", [b"", _request("GET /healthz", Connection="keep-alive")])
def test_headers_that_trickle_are_given_up(
    serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    monkeypatch.setattr(listening, "HEADER_SECONDS", 0.2)
    with serving(texts) as where, _connection(where) as connection:
        connection.sendall(before)
        if before:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        start = time.monotonic()
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012 - which byte meets it is open
            for byte in b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        assert 0.2 <= time.monotonic() - start < 2


def test_a_refused_body_that_trickles_on_is_given_up(serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(listening, "IDLE_SECONDS", 60)
    with serving(texts) as where, _connection(where) as connection:
        connection.sendall(_request("POST /v1/classify", Connection="keep-alive", **{"Content-Length": 10**9}))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012
            for _ in range(200):
                connection.sendall(b"a")
                time.sleep(0.02)


def test_a_slow_model_is_waited_for(serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEADER_SECONDS", 0.1)
    texts.gate.clear()
    with serving(texts) as where:
        threading.Timer(0.4, texts.gate.set).start()
        assert httpx2.post(f"{where}/v1/classify", json={"inputs": ["a"]}).status_code == 200


def test_stopping_turns_away_what_waits_too_long(
    serving: Any, texts: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "STOPPING_SECONDS", 0.1)
    texts.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        with serving(texts) as where:
            asked = [pool.submit(httpx2.post, f"{where}/v1/classify", json={"inputs": [name]}) for name in "ab"]
            with httpx2.Client(base_url=where) as client:
                _wait_until_in_flight(client, 2)
            threading.Timer(0.5, texts.gate.set).start()
        assert [one.result().status_code for one in asked] == [503, 503]
    assert "Traceback" not in caplog.text
    assert len(texts.calls) == 1

"""Endpoints that a file describes: what is sent to a small server on this machine, and what becomes of its answers."""

import base64
import io
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.services import InvalidResponse, RateLimited, RequestFailed, RequestRejected
from fedbbpt.types import Prompted
from fedbbpt_backends.http_endpoint import read_endpoint
from fedbbpt_backends.http_service import JsonService

KEY = "sk-very-secret/0123"
CLASSES = ("no", "yes")
NO = [None, None]
Serve = Callable[..., JsonService]


class Server(ThreadingHTTPServer):
    """Answers each request as `answer` says: a status, headers and a body. Keeps what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: Callable[[Any], tuple[int, dict[str, str], Any]] = scored
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections: set[Any] = set()
        self.url = f"http://127.0.0.1:{self.server_port}/score"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.paths.append(self.path)
        self.server.headers.append(dict(self.headers))
        self.server.connections.add(self.client_address)
        status, headers, answer = self.server.answer(body)
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = "Content-Length" in headers

    def log_message(self, *_: object) -> None:
        pass


def scored(body: Any) -> tuple[int, dict[str, str], Any]:
    """The number of its letters is a text's logit for yes."""
    results = [{"scores": [0, len(text)], "labels": ["no", "yes"]} for text in body["inputs"]]
    return 200, {}, {"results": results, "usage": {"total": 10}}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def serve(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """The server's endpoint file with some keys changed, as a service."""
    monkeypatch.setenv("MY_KEY", KEY)
    usual = {
        "url": server.url,
        "modality": "text",
        "max_inputs_per_request": 4,
        "body": {"inputs": "{inputs}"},
        "scores": "results[*].scores",
        "kind": "logits",
        "classes": list(CLASSES),
        "auth": {"variable": "MY_KEY"},
    }

    def described(**changed: Any) -> JsonService:
        (tmp_path / "endpoint.toml").write_text(tomli_w.dumps(usual | changed))
        return JsonService(read_endpoint(tmp_path / "endpoint.toml"), CLASSES, 4)

    return described


def test_a_request_and_its_replies(server: Server, serve: Serve) -> None:
    service = serve(tokens_path="usage.total", headers={"X-Version": "2"})
    replies = service.send(["a", "bcd", 'quote " {inputs}'], "key-1")
    assert server.bodies == [{"inputs": ["a", "bcd", 'quote " {inputs}']}]
    assert [reply.scores.tolist() for reply in replies] == [[0, 1], [0, 3], [0, 16]]
    assert {reply.scores.dtype for reply in replies} == {np.dtype(np.float32)}
    assert [reply.tokens for reply in replies] == [4, 3, 3]
    sent = server.headers[0]
    assert (sent["Idempotency-Key"], sent["Authorization"], sent["X-Version"]) == ("key-1", f"Bearer {KEY}", "2")


def test_connections_are_kept(server: Server, serve: Serve) -> None:
    service = serve()
    for i in range(5):
        service.send(["a"], str(i))
    assert len(server.connections) == 1


def test_an_answer_that_names_its_classes_is_put_in_order(server: Server, serve: Serve) -> None:
    answers = {"x": {"labels": ["yes", "maybe", "no"], "scores": [3, 2, 1]}, "y": {"labels": None, "scores": [1]}}
    server.answer = lambda body: (200, {}, {"results": [answers[text] for text in body["inputs"]]})
    service = serve(classes_path="results[*].labels")
    replies = service.send(["x", "y"], "k")
    assert replies[0].scores.tolist() == [1, 3]
    assert np.isnan(replies[1].scores).all()
    answers["x"]["labels"] = ["a", "b", "c"]
    with pytest.raises(BackendError, match=r"\(a, b, c\) and not 'no'; name some of its own"):
        service.send(["x"], "k")


@pytest.mark.parametrize("labels", [["yes", "no", "yes"], ["yes", "no"]])
def test_an_answer_names_each_class_once(server: Server, serve: Serve, labels: list[str]) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"labels": labels, "scores": [3, 2, 1]}]})
    with pytest.raises(BackendError, match=r"3 scores for . classes .*not one for each"):
        serve(classes_path="results[*].labels").send(["x"], "k")


@pytest.mark.parametrize(
    ("scores", "answer", "expected"),
    [
        ("r[*].s", {"r": [{"s": None}, {"s": [1, None]}, {"s": [1, 2]}]}, [NO, [1, None], [1, 2]]),
        ("r[*].c[*].s", {"r": [None, {"c": [{"s": 1}, {}]}, {"c": [{"s": 1}, {"s": 2}]}]}, [NO, [1, None], [1, 2]]),
        ("@", [[1, float("nan")], [1, 2], [3, 4]], [[1, None], [1, 2], [3, 4]]),
    ],
)
def test_what_is_missing_is_nan_in_its_place(
    server: Server, serve: Serve, scores: str, answer: Any, expected: list[list[float | None]]
) -> None:
    server.answer = lambda body: (200, {}, answer)
    replies = serve(scores=scores).send(["a", "b", "c"], "k")
    np.testing.assert_array_equal([reply.scores for reply in replies], np.array(expected, np.float32))


def test_probabilities_that_are_all_0_are_none(server: Server, serve: Serve) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"scores": [0, 0]}]})
    assert np.isnan(serve(kind="probabilities").send(["a"], "k")[0].scores).all()


@pytest.mark.parametrize("row", [[1e39, 0], [-math.inf, 0], [math.inf, math.nan]])
def test_what_no_number_holds_is_nan(server: Server, serve: Serve, row: list[float]) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"scores": row}]})
    assert np.isnan(serve().send(["a"], "k")[0].scores).any()


def test_the_query_of_an_address_is_kept(server: Server, serve: Serve) -> None:
    serve(url=f"{server.url}?api-version=2026-01").send(["a"], "k")
    assert server.paths == ["/score?api-version=2026-01"]


def test_the_only_input_needs_no_list(server: Server, serve: Serve) -> None:
    server.answer = lambda body: (200, {}, {"scores": [len(body["prompt"]), 0]})
    service = serve(max_inputs_per_request=1, body={"prompt": "Is it? {input}", "n": 1}, scores="scores")
    assert service.send(["ab"], "k")[0].scores.tolist() == [9, 0]


@pytest.mark.parametrize("after", ["3", "a date", "soon", None])
@pytest.mark.parametrize("status", [429, 503])
def test_busy(server: Server, serve: Serve, status: int, after: str | None) -> None:
    told = formatdate(time.time() + 100, usegmt=True) if after == "a date" else after
    server.answer = lambda body: (status, {"Retry-After": told} if told else {}, b"wait")
    with pytest.raises(RateLimited) as raised:
        serve().send(["a"], "k")
    if after in ("soon", None):
        assert raised.value.retry_after is None
    else:
        assert raised.value.retry_after == pytest.approx(3 if after == "3" else 98, abs=2)


@pytest.mark.parametrize(
    ("status", "headers", "answer"),
    [
        (500, {}, b"oops"),
        (408, {}, b""),
        (200, {"Content-Length": "1000"}, b'{"results": ['),
        (200, {}, b'{"results": ['),
        (200, {}, b"[" * 10**5),
        (200, {}, b'{"results": [{"scores": [1, ' + b"9" * 5000 + b"]}]}"),
        (200, {}, {"results": [{"scores": [1, 10**400]}] * 2}),
        (200, {}, {"other": 1}),
        (200, {}, {"results": [{"scores": [1, 2]}] * 3}),
        (200, {}, {"results": [{"scores": ["a", "b"]}] * 2}),
    ],
)
def test_lost(server: Server, serve: Serve, status: int, headers: dict[str, str], answer: Any) -> None:
    server.answer = lambda body: (status, headers, answer)
    with pytest.raises(RequestFailed):
        serve().send(["a", "b"], "k")


def test_a_failure_is_quoted(server: Server, serve: Serve) -> None:
    server.answer = lambda body: (500, {}, {"detail": f"no memory for {KEY}"})
    with pytest.raises(RequestFailed, match=r"HTTP 500: .*no memory for …"):
        serve().send(["a"], "k")


def test_an_answer_in_another_encoding_is_read(server: Server, serve: Serve) -> None:
    server.answer = lambda body: (200, {}, '{"results": [{"scores": [1, 2]}], "by": "Zoë"}'.encode("latin-1"))
    assert serve().send(["a"], "k")[0].scores.tolist() == [1, 2]


def test_lost_on_the_way(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(RequestFailed, match="did not answer in time"):
        serve(url=f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=0.05).send(["a"], "k")


def test_who_never_answered_is_said_at_once_and_who_did_may_come_back(server: Server, serve: Serve) -> None:
    service = serve()
    service.send(["a"], "k")
    server.server_close()
    service.session.close()
    with pytest.raises(RequestFailed, match=r"cut the connection|refuses connections"):
        service.send(["a"], "k")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9 refuses connections; .* correct url"):
        serve(url="http://127.0.0.1:9/").send(["a"], "k")


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "check body"),
        (401, "the key in MY_KEY"),
        (403, "the key in MY_KEY"),
        (404, "check url"),
        (307, "moved to"),
    ],
)
def test_a_refusal_is_quoted_without_the_key(server: Server, serve: Serve, status: int, advice: str) -> None:
    # the key stands where a quote is cut, and where the endpoint has moved to
    server.answer = lambda body: (status, {"Location": f"/to?{KEY}"}, f"{'x' * 190}{KEY}\n{'y' * 500}".encode())
    with pytest.raises(BackendError) as raised:
        serve().send(["a"], "k")
    message = str(raised.value)
    assert advice in message
    assert f"HTTP {status}" in message
    assert "x" * 190 in message
    assert not any(KEY[:n] in message for n in range(4, len(KEY)))
    assert len(server.bodies) == 1  # a redirect is not followed


@pytest.mark.parametrize(
    "answer",
    [
        b'{"error": "Model \x1b[2J is loading", "scores": null}',
        b"<p>Model is loading</p>",
        {"error": "Model is loading"},
    ],
)
def test_what_is_said_in_place_of_scores_is_quoted(server: Server, serve: Serve, answer: Any) -> None:
    server.answer = lambda body: (200, {}, answer)
    with pytest.raises(RequestFailed, match=r"\(it says: .*Model .*is loading") as raised:
        serve().send(["a"], "k")
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "said", "about_input"),
    [
        (400, "content_filter", True),
        (413, "", True),
        (422, "maximum context length is 512", True),
        (400, "odd", False),
        (404, "", False),
    ],
)
def test_a_refusal_may_be_about_the_input(
    server: Server, serve: Serve, status: int, said: str, about_input: bool
) -> None:
    server.answer = lambda body: (status, {}, said.encode())
    with pytest.raises(RequestRejected) as raised:
        serve().send(["a"], "k")
    assert raised.value.about_input == about_input


@pytest.mark.parametrize(
    ("kind", "value"), [("probabilities", 1.5), ("probabilities", -0.1), ("log-probabilities", 0.7)]
)
def test_what_a_kind_of_scores_cannot_be_is_said(server: Server, serve: Serve, kind: str, value: float) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"scores": [value, 0.0]}]})
    with pytest.raises(
        InvalidResponse, match=f"answered with {value:g}, and the endpoint file says {kind}: correct kind"
    ):
        serve(kind=kind).send(["a"], "k")


def test_endless_scores_are_none(server: Server, serve: Serve) -> None:
    server.answer = lambda body: (200, {}, b'{"results": [{"scores": [Infinity, -Infinity]}]}')
    assert np.isnan(serve().send(["a"], "k")[0].scores).all()
    (reply,) = serve(kind="log-probabilities").send(["b"], "k")
    assert np.isnan(reply.scores).tolist() == [True, False]


def test_a_wrong_number_of_scores_is_said_at_once(server: Server, serve: Serve) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"scores": [1, 2, 3]}]})
    with pytest.raises(BackendError, match=r"scores \(3,\) .* says \(2,\): correct"):
        serve().send(["a"], "k")


def test_who_asks_is_told_apart_and_stays_unknown(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again, other = serve().identity, serve().identity, serve(scores="results[*].other").identity
    monkeypatch.setenv("MY_KEY", "another")
    tenant = serve().identity
    assert first == again
    assert first not in (other, tenant)
    assert KEY not in json.dumps(first)


def test_a_text_is_sent_with_its_prompt(serve: Serve) -> None:
    service = serve()
    assert service.encode(Prompted("text", "before ")) == "before text"
    assert service.estimate_tokens("é" * 10) == (3, 0, 36)


@pytest.mark.parametrize("encoding", ["png-base64", "data-uri"])
def test_an_image_is_sent_as_png(serve: Serve, encoding: str) -> None:
    service = serve(modality="image", image={"width": 5, "height": 4, "encoding": encoding})
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5))
    encoded = service.encode(pixels.astype(np.float32) / np.float32(255))
    prefix, _, data = encoded.rpartition(",")
    assert prefix == ("data:image/png;base64" if encoding == "data-uri" else "")
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).transpose(2, 0, 1)
    assert (seen == pixels).all()
    half = service.encode(np.full((3, 8, 10), 0.5, np.float32)).rpartition(",")[2]  # 127.5 goes to the even number
    assert Image.open(io.BytesIO(base64.b64decode(half))).getcolors() == [(20, (128, 128, 128))]
    with pytest.raises(ConfigError, match="the endpoint reads images, and the task holds texts"):
        service.encode("a text")

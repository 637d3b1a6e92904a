"""Endpoints that a file describes: what is sent to a small server on this machine, and how its answers are read."""

import base64
import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.types import Prompted
from fedbbpt_backends.http_service import JsonService

NO = [None, None]
Make = Callable[..., JsonService]


def test_a_request_and_its_replies(server: Any, key: str, make_service: Make) -> None:
    service = make_service(tokens_path="usage.total", headers={"X-Version": "2"})
    replies = service.send(["a", "bcd", 'quote " {inputs}'], "key-1")
    assert server.bodies == [{"inputs": ["a", "bcd", 'quote " {inputs}']}]
    assert [reply.scores.tolist() for reply in replies] == [[0, 1], [0, 3], [0, 16]]
    assert {reply.scores.dtype for reply in replies} == {np.dtype(np.float32)}
    assert [reply.tokens for reply in replies] == [4, 3, 3]
    headers = server.headers[0]
    assert (headers["Idempotency-Key"], headers["Authorization"]) == ("key-1", f"Bearer {key}")
    assert headers["X-Version"] == "2"


def test_connections_are_reused(server: Any, make_service: Make) -> None:
    service = make_service()
    for i in range(5):
        service.send(["a"], str(i))
    assert len(server.connections) == 1


def test_an_answer_that_names_its_classes_is_put_in_order(server: Any, make_service: Make) -> None:
    answers = {"x": {"labels": ["yes", "maybe", "no"], "scores": [3, 2, 1]}, "y": {"labels": None, "scores": [1]}}
    server.answer = lambda body: (200, {}, {"results": [answers[text] for text in body["inputs"]]})
    service = make_service(classes_path="results[*].labels")
    replies = service.send(["x", "y"], "k")
    assert replies[0].scores.tolist() == [1, 3]
    assert np.isnan(replies[1].scores).all()
    answers["x"]["labels"] = ["a", "b", "c"]
    with pytest.raises(BackendError, match=r"\(a, b, c\) and not 'no'; name some of its own"):
        service.send(["x"], "k")


@pytest.mark.parametrize(
    ("scores", "answer", "expected"),
    [
        ("r[*].s", {"r": [{"s": None}, {"s": [1, None]}, {"s": [1, 2]}]}, [NO, [1, None], [1, 2]]),
        ("r[*].c[*].s", {"r": [None, {"c": [{"s": 1}, {}]}, {"c": [{"s": 1}, {"s": 2}]}]}, [NO, [1, None], [1, 2]]),
        ("@", [[1, float("nan")], [1, 2], [3, 4]], [[1, None], [1, 2], [3, 4]]),
    ],
)
def test_what_is_missing_is_nan_in_its_place(
    server: Any, make_service: Make, scores: str, answer: Any, expected: list[list[float | None]]
) -> None:
    server.answer = lambda body: (200, {}, answer)
    replies = make_service(scores=scores).send(["a", "b", "c"], "k")
    np.testing.assert_array_equal([reply.scores for reply in replies], np.array(expected, np.float32))


def test_probabilities_that_are_all_0_are_none(server: Any, make_service: Make) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"scores": [0, 0]}]})
    assert np.isnan(make_service(kind="probabilities").send(["a"], "k")[0].scores).all()


@pytest.mark.parametrize("row", [[1e39, 0], [-math.inf, 0], [math.inf, math.nan]])
def test_what_no_number_holds_is_nan(server: Any, make_service: Make, row: list[float]) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"scores": row}]})
    assert np.isnan(make_service().send(["a"], "k")[0].scores).any()


def test_the_query_string_of_a_url_is_sent(server: Any, make_service: Make) -> None:
    make_service(url=f"{server.url}/score?api-version=2026-01").send(["a"], "k")
    assert server.paths == ["/score?api-version=2026-01"]


def test_the_only_input_needs_no_list(server: Any, make_service: Make) -> None:
    server.answer = lambda body: (200, {}, {"scores": [len(body["prompt"]), 0]})
    service = make_service(max_inputs_per_request=1, body={"prompt": "Is it? {input}", "n": 1}, scores="scores")
    assert service.send(["ab"], "k")[0].scores.tolist() == [9, 0]


def test_an_answer_in_another_encoding_is_read(server: Any, make_service: Make) -> None:
    server.answer = lambda body: (200, {}, '{"results": [{"scores": [1, 2]}], "by": "Zoë"}'.encode("latin-1"))
    assert make_service().send(["a"], "k")[0].scores.tolist() == [1, 2]


def test_endless_scores_are_none(server: Any, make_service: Make) -> None:
    server.answer = lambda body: (200, {}, b'{"results": [{"scores": [Infinity, -Infinity]}]}')
    assert np.isnan(make_service().send(["a"], "k")[0].scores).all()
    (reply,) = make_service(kind="log-probabilities").send(["b"], "k")
    assert np.isnan(reply.scores).tolist() == [True, False]


def test_other_keys_and_endpoints_have_another_identity(
    key: str, make_service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again, other = (
        make_service().identity,
        make_service().identity,
        make_service(scores="results[*].other").identity,
    )
    monkeypatch.setenv("MY_KEY", "another")
    tenant = make_service().identity
    assert first == again
    assert first not in (other, tenant)
    assert key not in json.dumps(first)


def test_a_text_is_sent_with_its_prompt(make_service: Make) -> None:
    service = make_service()
    assert service.encode(Prompted("text", "before ")) == "before text"
    assert service.estimate_tokens("é" * 10) == (3, 0, 36)


@pytest.mark.parametrize("encoding", ["png-base64", "data-uri"])
def test_an_image_is_sent_as_png(make_service: Make, encoding: str) -> None:
    service = make_service(modality="image", image={"width": 5, "height": 4, "encoding": encoding})
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

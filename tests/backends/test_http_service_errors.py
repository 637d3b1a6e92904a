"""Endpoints that a file describes, and that are busy, fail, refuse or answer with something else."""

import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.services import InvalidResponse, RateLimited, RequestFailed, RequestRejected
from fedbbpt_backends.http_service import JsonService

Make = Callable[..., JsonService]


@pytest.mark.parametrize("after", ["3", "a date", "soon", None])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_says_when_to_come_back(server: Any, make_service: Make, status: int, after: str | None) -> None:
    value = formatdate(time.time() + 100, usegmt=True) if after == "a date" else after
    server.answer = lambda body: (status, {"Retry-After": value} if value else {}, b"wait")
    with pytest.raises(RateLimited) as raised:
        make_service().send(["a"], "k")
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
def test_a_broken_answer_is_a_failed_request(
    server: Any, make_service: Make, status: int, headers: dict[str, str], answer: Any
) -> None:
    server.answer = lambda body: (status, headers, answer)
    with pytest.raises(RequestFailed):
        make_service().send(["a", "b"], "k")


def test_a_service_that_says_nothing_fails_in_time(make_service: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RequestFailed, match="did not answer in time"):
        make_service(url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05).send(["a"], "k")


def test_a_failure_is_quoted_without_the_key(server: Any, key: str, make_service: Make) -> None:
    server.answer = lambda body: (500, {}, {"detail": f"no memory for {key}"})
    with pytest.raises(RequestFailed, match=r"HTTP 500: .*no memory for …"):
        make_service().send(["a"], "k")


@pytest.mark.parametrize(
    "answer",
    [
        b'{"error": "Model \x1b[2J is loading", "scores": null}',
        b"<p>Model is loading</p>",
        {"error": "Model is loading"},
    ],
)
def test_a_message_in_place_of_scores_is_quoted(server: Any, make_service: Make, answer: Any) -> None:
    server.answer = lambda body: (200, {}, answer)
    with pytest.raises(RequestFailed, match=r"\(it says: .*Model .*is loading") as raised:
        make_service().send(["a"], "k")
    assert "\x1b" not in str(raised.value)


def test_who_never_answered_is_reported_at_once_and_who_did_may_come_back(server: Any, make_service: Make) -> None:
    service = make_service()
    service.send(["a"], "k")
    server.server_close()
    service.session.close()
    with pytest.raises(RequestFailed, match=r"cut the connection|refuses connections"):
        service.send(["a"], "k")
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9 refuses connections; .* correct url"):
        make_service(url="http://127.0.0.1:9/").send(["a"], "k")


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
def test_a_refusal_is_quoted_without_the_key(
    server: Any, key: str, make_service: Make, status: int, advice: str
) -> None:
    # the key stands where a quote is cut, and where the endpoint has moved to
    server.answer = lambda body: (status, {"Location": f"/to?{key}"}, f"{'x' * 190}{key}\n{'y' * 500}".encode())
    with pytest.raises(BackendError) as raised:
        make_service().send(["a"], "k")
    message = str(raised.value)
    assert advice in message
    assert f"HTTP {status}" in message
    assert "x" * 190 in message
    assert not any(key[:n] in message for n in range(4, len(key)))
    assert len(server.bodies) == 1  # a redirect is not followed


@pytest.mark.parametrize(
    ("status", "message", "about_input"),
    [
        (400, "content_filter", True),
        (413, "", True),
        (422, "maximum context length is 512", True),
        (400, "odd", False),
        (404, "", False),
    ],
)
def test_a_refusal_may_be_about_the_input(
    server: Any, make_service: Make, status: int, message: str, about_input: bool
) -> None:
    server.answer = lambda body: (status, {}, message.encode())
    with pytest.raises(RequestRejected) as raised:
        make_service().send(["a"], "k")
    assert raised.value.about_input == about_input


@pytest.mark.parametrize(
    ("kind", "value"), [("probabilities", 1.5), ("probabilities", -0.1), ("log-probabilities", 0.7)]
)
def test_what_a_kind_of_scores_cannot_be_is_reported(server: Any, make_service: Make, kind: str, value: float) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"scores": [value, 0.0]}]})
    with pytest.raises(
        InvalidResponse, match=f"answered with {value:g}, and the endpoint file says {kind}: correct kind"
    ):
        make_service(kind=kind).send(["a"], "k")


def test_a_wrong_number_of_scores_is_reported_at_once(server: Any, make_service: Make) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"scores": [1, 2, 3]}]})
    with pytest.raises(BackendError, match=r"scores \(3,\) .* says \(2,\): correct"):
        make_service().send(["a"], "k")


@pytest.mark.parametrize("labels", [["yes", "no", "yes"], ["yes", "no"]])
def test_an_answer_names_each_class_once(server: Any, make_service: Make, labels: list[str]) -> None:
    server.answer = lambda body: (200, {}, {"results": [{"labels": labels, "scores": [3, 2, 1]}]})
    with pytest.raises(BackendError, match=r"3 scores for . classes .*not one for each"):
        make_service(classes_path="results[*].labels").send(["x"], "k")

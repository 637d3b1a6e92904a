"""A server of a body that refuses, fails or is another one: each is one sentence that says what to do."""

import json

import numpy as np
import pytest
from starlette.responses import Response

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.serve import RequestLimits
from fedbbpt.split_learning.activations import pack
from fedbbpt.split_learning.http_link import HttpLink
from fedbbpt.split_learning.http_transport import CutSpec

VALUES = np.ones((3, 5, 6), np.float32)


def one_sentence(error):
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (
            CutSpec("toy 6", 2, 1),
            "1 blocks before the body and 1 behind it .* algorithm.head_blocks=2 and algorithm.tail_blocks=1",
        ),
        (CutSpec("toy 6", 1, 0), "algorithm.head_blocks=1 and algorithm.tail_blocks=0"),
        (CutSpec("toy 7", 1, 1), r"another model \(toy\), or one with other weights"),
    ],
)
def test_another_body_is_refused_before_anything_is_sent(serve, host, connect, cut, message):
    serve()
    with pytest.raises(ConfigError, match=message) as error:
        connect(cut=cut).forward(VALUES)
    assert one_sentence(error)
    assert (host.up, host.down) == (0, 0)


def test_a_server_that_comes_back_with_another_body_is_found_out(serve, host, connect, make_split):
    serve()
    transport = connect()
    transport.forward(VALUES)
    host.stop()
    serve(make_split(0, 1, 12, []))
    with pytest.raises(ConfigError, match="another model"):
        transport.backward(VALUES)


@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_servers_token_nothing_goes(serve, connect, monkeypatch, token):
    serve(token="correct-horse")
    if token:
        monkeypatch.setenv("FEDBBPT_TOKEN", token)
    with pytest.raises(ConfigError, match="HTTP 401: set \\$FEDBBPT_TOKEN") as error:
        connect().forward(VALUES)
    assert "wrong" not in one_sentence(error)


def test_a_token_that_is_none_is_not_shown(serve, connect, monkeypatch):
    serve()
    monkeypatch.setenv("FEDBBPT_TOKEN", "two words")
    with pytest.raises(ConfigError, match="holds no token") as error:
        connect().forward(VALUES)
    assert "two words" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (301, ConfigError, "so it has moved"),
        (401, ConfigError, "set \\$FEDBBPT_TOKEN"),
        (403, ConfigError, "set \\$FEDBBPT_TOKEN"),
        (404, ConfigError, "fedbbpt serve-body"),
        (413, ConfigError, "larger --max-body, .* lower algorithm.batch_size"),
        (400, ConfigError, "answered with HTTP 400$"),
        (405, ConfigError, "answered with HTTP 405$"),
        (409, BackendError, "HTTP 409, .* --resume"),
        (410, BackendError, "HTTP 410, .* --resume"),
        (500, BackendError, "HTTP 500, .* --resume"),
    ],
)
def test_refusals_say_what_to_do(answer_with, connect, status, kind, message, body_info):
    again = [body_info] if status == 409 else []  # it is asked which body it has
    answer_with(
        body_info, Response(status_code=status, headers={"Location": "/"}), *again, Response(status_code=status)
    )
    with pytest.raises(kind, match=message) as error:
        connect(backward=False).forward(VALUES)
    one_sentence(error)


NO_REASONS = [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"error": "no"}', b'{"error": {"message": 1}}']


@pytest.mark.parametrize("reply", NO_REASONS)
def test_a_refusal_may_give_no_reason(answer_with, connect, reply, body_info):
    answer_with(body_info, Response(reply, 400))
    with pytest.raises(ConfigError, match=r"HTTP 400$"):
        connect().forward(VALUES)


def test_the_reason_of_a_refusal_is_shown_as_far_as_it_is_safe(answer_with, connect, body_info):
    reason = "too\nmany\x1b[31m \u202esamples \ud800" + 1000 * "x"
    answer_with(body_info, Response(json.dumps({"error": {"message": reason}}), 400))
    with pytest.raises(ConfigError) as error:
        connect().forward(VALUES)
    shown = one_sentence(error).partition(" answered with HTTP 400: ")[2]
    assert shown == ("too many[31m samples " + 1000 * "x")[:300]


def test_the_reason_comes_from_the_server_itself(serve, connect):
    serve()
    with pytest.raises(ConfigError, match=r"HTTP 400: expected an array .* 6\), got \(2, 5, 7\)$"):
        connect().forward(np.zeros((2, 5, 7), np.float32))
    with pytest.raises(ConfigError, match=r"HTTP 400: .* send fewer samples per request \(algorithm.batch_size, "):
        connect().forward(np.zeros((3, 4096, 6), np.float32))


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"", "no packed activations"),
        (b"<html>", "no packed activations"),
        (pack(VALUES)[:-1], "no packed activations"),
        (pack(VALUES[:1]), r"an array \(1, 5, 6\) in place of \(3, 5, 6\)"),
    ],
)
def test_replies_that_make_no_sense_are_errors(answer_with, connect, reply, message, body_info):
    answer_with(body_info, Response(reply))
    with pytest.raises(BackendError, match=message) as error:
        connect(backward=False).forward(VALUES)
    one_sentence(error)


@pytest.mark.parametrize("reply", [b"", b"[]", b"{}", b"null", b'{"model": "toy"}', b"\xff"])
def test_a_server_that_describes_no_body_is_refused(answer_with, connect, reply):
    answer_with(Response(reply))
    with pytest.raises(ConfigError, match="does not say what body it has; start it with fedbbpt serve-body"):
        connect().forward(VALUES)


def test_a_request_that_is_too_large_names_the_servers_limit(serve, connect):
    serve(limits=RequestLimits(max_body=2**20))
    with pytest.raises(ConfigError, match="HTTP 413: start it with a larger --max-body"):
        connect().forward(np.zeros((2000, 1000, 6), np.float32))


def test_a_model_that_fails_is_an_error(serve, connect, make_split, monkeypatch):
    def fail(self, parameters, values, trained):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(make_split, "body", fail)
    serve()
    with pytest.raises(BackendError, match="HTTP 500, and its log may say why; nothing is lost"):
        connect().forward(VALUES)


NO_URLS = ["", "127.0.0.1:8000", "ftp://x", "http://", "http://[", "http://x:99999", "http://me:pw@x", "http://x/?a=1"]
NO_HOSTS = ["http://192.168..5:8000", "http://a..b:80", "http://.a", f"http://{'a' * 64}:80", f"http://b.{'a' * 64}"]


@pytest.mark.parametrize("url", NO_URLS + NO_HOSTS)
def test_a_url_is_checked_at_once(url):
    with pytest.raises(ConfigError, match=r"algorithm\.body_url (is what|must)") as error:
        HttpLink(url)
    assert "pw" not in one_sentence(error)


def test_a_proxy_that_cannot_be_one_is_an_error(connect, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://a..b:80")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ConfigError, match="http_proxy must be a proxy's address") as error:
        connect(url="http://10.0.0.1:8000").forward(VALUES)
    one_sentence(error)


def test_a_server_without_tls_is_not_asked_for_it(serve, host, connect):
    serve()
    with pytest.raises(ConfigError, match="does not speak TLS there") as error:
        connect(url=host.url.replace("http", "https")).forward(VALUES)
    one_sentence(error)

"""A body behind a network: the same bits as in one process, whatever happens on the way."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from fedbbpt.algorithms import ClientSizes
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.serve import RequestLimits
from fedbbpt.serve.activation_cache import size_of
from fedbbpt.split_learning import http_retry
from fedbbpt.split_learning.activations import pack, unpack
from fedbbpt.split_learning.http_transport import CutSpec, RemoteBody
from fedbbpt.split_learning.protocol import Forward
from fedbbpt.split_learning.transport import BodyRunner, InProcessTransport
from fedbbpt.types import Usage

TOKEN = "correct-horse"
CUT = CutSpec("toy 6", 1, 1)
VALUES, GRADIENTS = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype(np.float32)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("FEDBBPT_TOKEN", raising=False)


@pytest.fixture
def connect(host):
    """`connect(dtype, cut, backward)`: a client's transport to the host."""

    def make(dtype="float32", cut=CUT, backward=True, url=None):
        return RemoteBody(url or host.url, dtype, cut).transport(backward=backward)

    return make


@pytest.fixture
def expected(make_split):
    """What a server in this process says, to `VALUES` and then to `GRADIENTS`."""
    split = make_split(0, 1, 6, [])
    here = InProcessTransport(BodyRunner(split, split.init(0)["body"], frozenset({"prompt"}), 0.0))
    return here.forward(VALUES), here.backward(GRADIENTS)


@pytest.fixture
def answering(host):
    """`answering(*replies)`: a server that says one thing after the other, and the last one from then on."""

    def start(*replies):
        left = list(replies)

        async def answer(request):
            await request.body()
            return left.pop(0) if len(left) > 1 else left[0]

        app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
        host.start(lambda thread: Served(app))

    return start


class Served:
    def __init__(self, app):
        self.app = app

    def close(self):
        """Nothing is open."""


def agreement(identity="toy 6", head=1, tail=1):
    body = f'{{"model": "toy", "identity": "{identity}", "head_blocks": {head}, "tail_blocks": {tail}, "width": 6}}'
    return Response(body, media_type="application/json")


def one_sentence(error):
    said = str(error.value)
    assert "\n" not in said
    return said


# the same as in one process


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("trainable", ["prompt", "linear"])
def test_same_bits_and_bytes_as_in_one_process(simulate, toy, clients, rounds, same, serve, host, trainable, dtype):
    asked, results, backend = [], [], toy()
    serve(type(backend)().partition_model(num_prompt_tokens=0, num_classes=1))
    options = {"trainable": trainable, "activation_dtype": dtype, "batch_size": 3}
    apart, together = simulate(clients, backend, body_url=host.url, **options), simulate(clients, **options)
    for simulation in (apart, together):
        states, losses = rounds(simulation, 2)
        pool, score = simulation.pool, simulation.evaluate(states[-1], "test")
        asked.append((pool.bytes_up, pool.bytes_down, pool.usage, score.pool.bytes_up, score.usage, losses))
        results.append((states[-1].parameters, score.confusion.tolist()))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert asked[0] == asked[1]
    assert not backend.forwarded  # the body is at the server


def test_bytes_are_those_that_the_server_saw(serve, host, connect, expected):
    service = serve()
    there = connect()
    forward, backward = there.forward(VALUES), there.backward(GRADIENTS)
    assert forward.tobytes() == expected[0].tobytes()
    assert backward.tobytes() == expected[1].tobytes()
    assert there.traffic == (host.up, host.down)
    assert there.traffic.up == len(pack(VALUES)) + len(pack(GRADIENTS))
    assert there.usage == Usage(3, 1)
    assert not len(service._cache)


def test_only_passes_with_a_backward_are_kept(serve, connect):
    service = serve()
    connect(backward=False).forward(VALUES)
    assert not len(service._cache)
    connect(backward=True).forward(VALUES)
    assert len(service._cache) == 1


def test_gradients_need_values_and_go_once(serve, connect):
    serve()
    there = connect()
    with pytest.raises(RuntimeError, match="never went forward"):
        there.backward(GRADIENTS)
    there.forward(VALUES)
    there.backward(GRADIENTS)
    with pytest.raises(RuntimeError, match="never went forward"):
        there.backward(GRADIENTS)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_what_diverged_travels_too(serve, connect, make_split, monkeypatch, dtype):
    monkeypatch.setattr(make_split, "body", lambda self, parameters, values, trained: Forward(values, None))
    serve()
    values = VALUES.copy()
    values[0, 0], values[1, 1] = np.inf, np.nan
    answer = connect(dtype, backward=False).forward(values)
    assert answer.tobytes() == unpack(pack(unpack(pack(values, dtype)), dtype)).tobytes()
    assert not np.isfinite(answer[[0, 1], [0, 1]]).any()


def test_clipped_activations_travel_as_in_one_process(simulate, clients, same, serve, host):
    serve()
    apart, together = (simulate(clients, clip_norm=0.5, **more).states(1)[-1] for more in ({"body_url": host.url}, {}))
    assert same(apart.parameters, together.parameters)


# a server that is away, or starts anew


def test_a_fresh_server_between_forward_and_backward_gives_the_same_bits(serve, host, connect, expected):
    serve()
    there = connect()
    there.forward(VALUES)
    host.stop()
    serve()
    assert there.backward(GRADIENTS).tobytes() == expected[1].tobytes()
    assert there.usage == Usage(3, 1)  # once, as it was wanted
    assert there.traffic == (host.up, host.down)
    assert there.traffic.up == 2 * (len(pack(VALUES)) + len(pack(GRADIENTS)))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_fresh_server_at_a_round_boundary_gives_the_same_bits(simulate, clients, same, serve, host, dtype):
    serve()
    simulation = simulate(clients, body_url=host.url, activation_dtype=dtype)
    state = simulation.states(1)[-1]
    host.stop()
    serve()
    state = simulation.states(1, state)[-1]
    whole = simulate(clients, activation_dtype=dtype).states(2)[-1]
    assert same(state.parameters, whole.parameters)


def test_a_server_that_is_away_is_waited_for(serve, host, connect, expected):
    serve()
    there = connect()
    there.forward(VALUES)
    host.stop()
    again = threading.Timer(0.5, serve)
    again.start()
    assert there.forward(VALUES).tobytes() == expected[0].tobytes()
    again.join()
    assert there.traffic == (host.up, host.down)  # nobody was there to whom something could have been sent


def test_giving_up_is_one_sentence(serve, host, connect, monkeypatch):
    serve()
    there = connect()
    there.forward(VALUES)
    host.stop()
    monkeypatch.setattr(http_retry, "GIVE_UP_AFTER", 0.3)
    start = time.monotonic()
    with pytest.raises(
        BackendError, match=r"did not answer for 0\.3 seconds \(ConnectionError\); .* --resume"
    ) as error:
        there.backward(GRADIENTS)
    assert one_sentence(error)
    assert 0.3 <= time.monotonic() - start < 5


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_it_waits_as_long_as_retry_after_says(answering, connect, status, monkeypatch):
    waits = []
    monkeypatch.setattr(http_retry.time, "sleep", waits.append)
    busy = [Response(status_code=status, headers=more) for more in ({}, {"Retry-After": "7"}, {"Retry-After": "soon"})]
    answering(agreement(), *busy, Response(pack(VALUES)))
    assert connect(backward=False).forward(VALUES).tobytes() == VALUES.tobytes()
    assert waits == [0.1, 7.0, 0.4]


def test_a_reply_that_breaks_off_is_asked_for_again(answering, connect, monkeypatch):
    monkeypatch.setattr(http_retry.time, "sleep", lambda seconds: None)
    whole = pack(VALUES)
    torn = Response(whole, headers={"Content-Length": str(len(whole) + 1)})
    answering(agreement(), torn, Response(whole))
    there = connect(backward=False)
    assert there.forward(VALUES).tobytes() == VALUES.tobytes()
    assert there.traffic == (2 * len(whole), 2 * len(whole))


@pytest.mark.parametrize(("bound", "two"), [("_max_entries", 2), ("_max_size", 2 * size_of(VALUES.shape))])
def test_an_evicted_pass_goes_forward_again(serve, connect, expected, bound, two):
    service = serve()
    service._cache._grace = 0
    setattr(service._cache, bound, two)
    transports = [connect() for _ in range(3)]
    for one in transports:
        one.forward(VALUES)
    assert len(service._cache) == 2
    for one in transports:
        assert one.backward(GRADIENTS).tobytes() == expected[1].tobytes()


def test_clients_that_leave_no_room_for_each_other_all_finish(serve, connect, expected):
    serve()._cache._max_size = 0

    def ten_times():
        for _ in range(10):
            there = connect()
            there.forward(VALUES)
            yield there.backward(GRADIENTS).tobytes()

    with ThreadPoolExecutor(3) as pool:
        for answers in pool.map(lambda _: set(ten_times()), range(3)):
            assert answers == {expected[1].tobytes()}


def test_a_server_that_keeps_nothing_is_an_error(serve, connect):
    serve()._cache.ttl = -1
    there = connect()
    there.forward(VALUES)
    with pytest.raises(BackendError, match="HTTP 410 10 times, so too many clients") as error:
        there.backward(GRADIENTS)
    assert "--resume" in one_sentence(error)


# what does not go


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (
            CutSpec("toy 6", 2, 1),
            "1 blocks before the body and 1 behind it .* algorithm.head_blocks=2 and algorithm.tail_blocks=1",
        ),
        (CutSpec("toy 6", 1, 0), "algorithm.head_blocks=1 and algorithm.tail_blocks=0"),
        (CutSpec("toy 7", 1, 1), r"another model \(toy\), or one with other weights"),
    ],
)
def test_another_body_is_refused_before_anything_is_sent(serve, host, connect, cut, said):
    serve()
    with pytest.raises(ConfigError, match=said) as error:
        connect(cut=cut).forward(VALUES)
    assert one_sentence(error)
    assert (host.up, host.down) == (0, 0)


def test_a_server_that_comes_back_with_another_body_is_found_out(serve, host, connect, make_split):
    serve()
    there = connect()
    there.forward(VALUES)
    host.stop()
    serve(make_split(0, 1, 12, []))
    with pytest.raises(ConfigError, match="another model"):
        there.backward(GRADIENTS)


@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_servers_token_nothing_goes(serve, connect, monkeypatch, token):
    serve(token=TOKEN)
    if token:
        monkeypatch.setenv("FEDBBPT_TOKEN", token)
    with pytest.raises(ConfigError, match="HTTP 401: set \\$FEDBBPT_TOKEN") as error:
        connect().forward(VALUES)
    assert "wrong" not in one_sentence(error)


def test_with_it_everything_does(serve, connect, monkeypatch, expected):
    serve(token=TOKEN)
    monkeypatch.setenv("FEDBBPT_TOKEN", TOKEN)
    there = connect()
    assert there.forward(VALUES).tobytes() == expected[0].tobytes()
    assert there.backward(GRADIENTS).tobytes() == expected[1].tobytes()


def test_a_token_that_is_none_is_not_shown(serve, connect, monkeypatch):
    serve()
    monkeypatch.setenv("FEDBBPT_TOKEN", "two words")
    with pytest.raises(ConfigError, match="holds no token") as error:
        connect().forward(VALUES)
    assert "two words" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
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
def test_refusals_say_what_to_do(answering, connect, status, kind, said):
    again = [agreement()] if status == 409 else []  # it is asked which body it has
    answering(
        agreement(), Response(status_code=status, headers={"Location": "/"}), *again, Response(status_code=status)
    )
    with pytest.raises(kind, match=said) as error:
        connect(backward=False).forward(VALUES)
    one_sentence(error)


NO_REASONS = [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"error": "no"}', b'{"error": {"message": 1}}']


@pytest.mark.parametrize("reply", NO_REASONS)
def test_a_refusal_may_give_no_reason(answering, connect, reply):
    answering(agreement(), Response(reply, 400))
    with pytest.raises(ConfigError, match=r"HTTP 400$"):
        connect().forward(VALUES)


def test_the_reason_of_a_refusal_is_shown_as_far_as_it_is_safe(answering, connect):
    reason = "too\nmany\x1b[31m \u202esamples \ud800" + 1000 * "x"
    answering(agreement(), Response(json.dumps({"error": {"message": reason}}), 400))
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
    ("reply", "said"),
    [
        (b"", "no packed activations"),
        (b"<html>", "no packed activations"),
        (pack(VALUES)[:-1], "no packed activations"),
        (pack(VALUES[:1]), r"an array \(1, 5, 6\) in place of \(3, 5, 6\)"),
    ],
)
def test_replies_that_make_no_sense_are_errors(answering, connect, reply, said):
    answering(agreement(), Response(reply))
    with pytest.raises(BackendError, match=said) as error:
        connect(backward=False).forward(VALUES)
    one_sentence(error)


@pytest.mark.parametrize("reply", [b"", b"[]", b"{}", b"null", b'{"model": "toy"}', b"\xff"])
def test_a_server_that_describes_no_body_is_refused(answering, connect, reply):
    answering(Response(reply))
    with pytest.raises(ConfigError, match="does not say what body it has; start it with fedbbpt serve-body"):
        connect().forward(VALUES)


def test_what_is_too_large_is_said_by_the_server_itself(serve, connect):
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
def test_a_url_is_checked_at_once(connect, url):
    with pytest.raises(ConfigError, match=r"algorithm\.body_url (is what|must)") as error:
        RemoteBody(url, "float32", CUT)
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


def test_nothing_is_sent_before_a_transport_is_used(method):
    algorithm = method(body_url="http://127.0.0.1:9", keep_fraction=0.5)
    assert algorithm.expected_usage(ClientSizes("client-000", 4, 5, 9), 1) == Usage(2, 1)
    assert set(algorithm.init().parameters) == {"prompt", "tail", "classifier"}
    assert algorithm.parameter_counts(1)["prompt"] == 12
    assert not algorithm.is_queryable

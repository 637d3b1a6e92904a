"""The service of a body: its responses to malformed, hostile and ordinary requests."""

import json
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
import requests
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedbbpt.serve import RequestLimits
from fedbbpt.split_learning.activations import pack, unpack_untrusted

VALUES = np.ones((2, 5, 6), np.float32)
ME = {"body": "toy 6"}


@pytest.fixture
def post(serve, host):
    """`post(way, message, **named)`: the service's answer."""
    serve(limits=RequestLimits(max_body=2**20))

    def ask(way, message, **named):
        return requests.post(f"{host.url}/v1/split/{way}", data=message, params=ME | named, timeout=10)

    return ask


def safetensors_of(header, data=b""):
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def saved(**arrays):
    return safetensors.numpy.save(arrays, metadata={"scalars": "{}"})


def about(dtype, shape, length):
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, length]}


META = {"__metadata__": {"scalars": "{}"}}
HOSTILE = {
    "nothing": b"",
    "few bytes": b"abc",
    "no safetensors": b"\x00" * 100,
    "JSON": b'{"values": [[[1.0]]]}',
    "header longer than all": struct.pack("<Q", 2**63) + b"{}",
    "header of spaces": safetensors_of(b"{" + b" " * 5000 + b"}"),
    "header of many arrays": safetensors_of({str(i): about("F32", [0], 0) for i in range(10_000)}),
    "deep header": safetensors_of(b'{"a":' + b"[" * 4000),
    "deep scalars": safetensors_of({"__metadata__": {"scalars": "[" * 3000}}),
    "no metadata": safetensors.numpy.save({"values": VALUES}),
    "metadata of another kind": safetensors_of({"__metadata__": []}),
    "no arrays": saved(),
    "another name": saved(numbers=VALUES),
    "one too many": saved(values=VALUES, more=VALUES),
    "doubles": saved(values=VALUES.astype(np.float64)),
    "bytes": saved(values=VALUES.astype(np.uint8)),
    "int8 without scales": saved(values=VALUES.astype(np.int8)),
    "scales that grow": saved(values=np.ones((1, 1, 6), np.int8), scales=np.ones((400, 500, 1), np.float32)),
    "flat": saved(values=VALUES.ravel()),
    "four axes": saved(values=VALUES[None]),
    "no samples": saved(values=VALUES[:0]),
    "no tokens": saved(values=VALUES[:, :0]),
    "too many tokens": saved(values=np.zeros((1, 4097, 6), np.float32)),
    "another width": saved(values=np.zeros((2, 5, 7), np.float32)),
    "cut off": pack(VALUES)[:-1],
    "too long": pack(VALUES) + b"\x00",
    "declared, not there": safetensors_of({**META, "values": about("F32", [2**20, 2**20, 6], 24 * 2**40)}),
    "more than there can be": safetensors_of({**META, "values": about("F32", [2**62, 2**62, 6], 2**63)}),
    "shape and bytes differ": safetensors_of({**META, "values": about("F32", [2, 5, 6], 4)}, b"\x00" * 4),
    "negative": safetensors_of({**META, "values": about("F32", [-1, 5, 6], 0)}),
    "a type that NumPy lacks": safetensors_of({**META, "values": about("F8_E4M3", [1, 1, 6], 6)}, b"\x00" * 6),
}
TWICE = safetensors_of(
    b'{"__metadata__":{"scalars":"{}"},"values":{"dtype":"F64","shape":[1,1,6],"data_offsets":[0,48]},'
    b'"values":{"dtype":"F32","shape":[2,1,6],"data_offsets":[0,48]}}',
    b"\x00" * 48,
)


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_hostile_bodies_are_refused_in_a_sentence(post, host, way):
    for name, message in HOSTILE.items():
        answer = post(way, message, ticket="a")
        assert answer.status_code == 400, name
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert "\n" not in answer.json()["error"]["message"]
    assert post("forward", pack(VALUES)).status_code == 200


def test_a_name_twice_is_one_of_the_two_or_none(post):
    assert post("forward", TWICE).status_code in (200, 400)


@settings(max_examples=300, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    dtype=st.sampled_from(["float32", "bfloat16", "int8"]),
    places=st.lists(st.integers(0, 400), max_size=4),
    new=st.binary(min_size=1, max_size=8),
)
def test_a_message_with_some_bytes_changed_is_read_or_refused(dtype, places, new):
    message = bytearray(pack(VALUES, dtype))
    for place in places:
        message[place : place + len(new)] = new
    with suppress(ValueError):
        values, _ = unpack_untrusted(bytes(message))
        assert values.dtype == np.float32
        assert values.ndim == 3


def test_a_message_tells_its_wire():
    for dtype in ("float32", "bfloat16", "int8"):
        values, found = unpack_untrusted(pack(VALUES, dtype))
        assert (found, values.tolist()) == (dtype, VALUES.tolist())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_it_answers_in_the_format_that_it_is_asked_in(post, dtype):
    answer = post("forward", pack(VALUES, dtype))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert unpack_untrusted(answer.content)[1] == dtype


def test_gradients_have_the_shape_of_the_answer_and_a_ticket(post):
    for named in ({}, {"ticket": ""}, {"ticket": "a" * 65}):
        assert post("backward", pack(VALUES), **named).status_code == 400
    assert post("forward", pack(VALUES), ticket="a" * 65).status_code == 400
    assert post("forward", pack(VALUES), ticket="a").status_code == 200
    wrong = post("backward", pack(VALUES[:1]), ticket="a")
    assert wrong.status_code == 400
    assert "expected gradients of shape (2, 5, 6), got (1, 5, 6)" in wrong.json()["error"]["message"]
    assert post("backward", pack(VALUES), ticket="a").status_code == 200
    gone = post("backward", pack(VALUES), ticket="a")
    assert gone.status_code == 410
    assert "send the activations forward again" in gone.json()["error"]["message"]


def test_every_request_names_the_body(host, post):
    for named in ({"body": "toy 7"}, {"body": ""}):
        assert post("forward", pack(VALUES), **named).status_code == 409
    assert requests.post(f"{host.url}/v1/split/forward", data=pack(VALUES), timeout=10).status_code == 409


def test_limits_hold(post):
    assert post("forward", b"\x00" * (2**20 + 1)).status_code == 413
    assert post("forward", iter([b"\x00" * 2**20, b"\x00"])).status_code == 413


def test_a_request_is_limited_by_what_it_takes_to_pass(post):
    for way in ("forward", "backward"):
        refused = post(way, pack(np.zeros((3, 4096, 6), np.float32), "int8"), ticket="a")
        assert refused.status_code == 400
        assert refused.json()["error"]["message"].endswith(
            "send fewer samples per request (algorithm.batch_size, backend.max_batch)"
        )
    assert post("forward", pack(np.zeros((1, 4096, 6), np.float32))).status_code == 200


def test_tickets_go_though_nobody_asks_anything(serve, host):
    service = serve()
    service._cache.ttl = 0.5
    for name in ("a", "b"):
        answer = requests.post(f"{host.url}/v1/split/forward", pack(VALUES), params=ME | {"ticket": name}, timeout=10)
        assert answer.status_code == 200
    assert len(service._cache) == 2
    until = time.monotonic() + 10
    while len(service._cache):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_finds_no_room_waits_for_it(serve, host):
    service = serve(limits=RequestLimits(concurrency=1))
    service._cache._max_size = 0

    def go(way, name):
        return requests.post(f"{host.url}/v1/split/{way}", pack(VALUES), params=ME | {"ticket": name}, timeout=10)

    assert go("forward", "a").status_code == 200
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(go, "forward", "b")
        time.sleep(0.5)
        assert not second.done()
        assert list(service._cache._entries) == ["a"]
        assert go("backward", "a").status_code == 200
        assert second.result().status_code == 200
    assert list(service._cache._entries) == ["b"]


def test_tickets_that_wait_keep_no_service_from_closing(serve, host):
    service = serve()
    answer = requests.post(f"{host.url}/v1/split/forward", pack(VALUES), params=ME | {"ticket": "a"}, timeout=10)
    assert answer.status_code == 200
    assert not service._eviction.cancelled()
    start = time.monotonic()
    host.stop()
    assert time.monotonic() - start < 5
    assert service._eviction.cancelled()


def test_it_says_what_it_is_and_what_it_has_done(post, host):
    description = requests.get(f"{host.url}/v1/split", timeout=10).json()
    assert description == {"model": "toy", "identity": "toy 6", "head_blocks": 1, "tail_blocks": 1, "width": 6}
    post("forward", pack(VALUES))
    counts = requests.get(f"{host.url}/metrics", timeout=10).text
    assert "fedbbpt_queries_total 2.0\n" in counts
    assert 'fedbbpt_requests_total{route="/v1/split/forward",status="200"} 1' in counts
    assert requests.get(f"{host.url}/healthz", timeout=10).json() == {"status": "ok"}


def test_what_is_not_there_is_said(post, host):
    missing = requests.get(f"{host.url}/openapi.json", timeout=10)
    assert missing.status_code == 404
    assert "/v1/split/forward" in missing.json()["error"]["message"]
    other = requests.get(f"{host.url}/v1/split/forward", timeout=10)
    assert other.status_code == 405
    assert other.json()["error"]["message"] == "method not allowed here; use POST"


def test_strangers_and_pages_are_not_let_in(serve, host):
    serve(token="correct-horse")
    for path in ("/v1/split", "/v1/split/forward", "/metrics"):
        assert requests.get(host.url + path, timeout=10).status_code == 401
    host.stop()
    serve()
    refused = requests.get(f"{host.url}/v1/split", headers={"Origin": "http://elsewhere"}, timeout=10)
    assert refused.status_code == 403

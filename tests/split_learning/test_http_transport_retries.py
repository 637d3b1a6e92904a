"""A server of a body that is busy or away, starts anew, or has evicted a pass: the client waits, and sends again."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.responses import Response

from fedbbpt.errors import BackendError
from fedbbpt.serve.activation_cache import size_of
from fedbbpt.split_learning import http_retry
from fedbbpt.split_learning.activations import pack
from fedbbpt.types import Usage


def test_a_fresh_server_between_forward_and_backward_changes_no_bit(serve, host, connect, expected, values, gradients):
    serve()
    transport = connect()
    transport.forward(values)
    host.stop()
    serve()
    assert transport.backward(gradients).tobytes() == expected.backward.tobytes()
    assert transport.usage == Usage(3, 1)  # once, as it was wanted
    assert transport.traffic == (host.up, host.down)
    assert transport.traffic.up == 2 * (len(pack(values)) + len(pack(gradients)))


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


def test_a_server_that_is_away_is_waited_for(serve, host, connect, expected, values):
    serve()
    transport = connect()
    transport.forward(values)
    host.stop()
    again = threading.Timer(0.5, serve)
    again.start()
    assert transport.forward(values).tobytes() == expected.forward.tobytes()
    again.join()
    assert transport.traffic == (host.up, host.down)  # nobody was there to whom something could have been sent


def test_giving_up_is_one_sentence(serve, host, connect, monkeypatch, values, gradients):
    serve()
    transport = connect()
    transport.forward(values)
    host.stop()
    monkeypatch.setattr(http_retry, "GIVE_UP_AFTER", 0.3)
    start = time.monotonic()
    with pytest.raises(
        BackendError, match=r"did not answer for 0\.3 seconds \(ConnectionError\); .* --resume"
    ) as error:
        transport.backward(gradients)
    assert "\n" not in str(error.value)
    assert 0.3 <= time.monotonic() - start < 5


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_it_waits_as_long_as_retry_after_says(answer_with, connect, status, monkeypatch, values, body_info):
    waits = []
    monkeypatch.setattr(http_retry.time, "sleep", waits.append)
    busy = [Response(status_code=status, headers=more) for more in ({}, {"Retry-After": "7"}, {"Retry-After": "soon"})]
    answer_with(body_info, *busy, Response(pack(values)))
    assert connect(backward=False).forward(values).tobytes() == values.tobytes()
    assert waits == [0.1, 7.0, 0.4]


def test_a_reply_that_breaks_off_is_asked_for_again(answer_with, connect, monkeypatch, values, body_info):
    monkeypatch.setattr(http_retry.time, "sleep", lambda seconds: None)
    whole = pack(values)
    torn = Response(whole, headers={"Content-Length": str(len(whole) + 1)})
    answer_with(body_info, torn, Response(whole))
    transport = connect(backward=False)
    assert transport.forward(values).tobytes() == values.tobytes()
    assert transport.traffic == (2 * len(whole), 2 * len(whole))


@pytest.mark.parametrize(("bound", "two"), [("_max_entries", 2), ("_max_size", 2 * size_of((3, 5, 6)))])
def test_an_evicted_pass_goes_forward_again(serve, connect, expected, bound, two, values, gradients):
    service = serve()
    service._cache._grace = 0
    setattr(service._cache, bound, two)
    transports = [connect() for _ in range(3)]
    for one in transports:
        one.forward(values)
    assert len(service._cache) == 2
    for one in transports:
        assert one.backward(gradients).tobytes() == expected.backward.tobytes()


def test_clients_that_leave_no_room_for_each_other_all_finish(serve, connect, expected, values, gradients):
    serve()._cache._max_size = 0

    def ten_times():
        for _ in range(10):
            transport = connect()
            transport.forward(values)
            yield transport.backward(gradients).tobytes()

    with ThreadPoolExecutor(3) as pool:
        for answers in pool.map(lambda _: set(ten_times()), range(3)):
            assert answers == {expected.backward.tobytes()}


def test_a_server_that_keeps_nothing_is_an_error(serve, connect, values, gradients):
    serve()._cache.ttl = -1
    transport = connect()
    transport.forward(values)
    with pytest.raises(BackendError, match="HTTP 410 10 times, so too many clients") as error:
        transport.backward(gradients)
    assert re.fullmatch(".*--resume.*", str(error.value))  # in one line

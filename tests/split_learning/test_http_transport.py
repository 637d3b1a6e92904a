"""A body behind a network: the same bits and bytes as in one process."""

import numpy as np
import pytest

from fedbbpt.algorithms import ClientSizes
from fedbbpt.split_learning.activations import pack, unpack
from fedbbpt.split_learning.protocol import Forward
from fedbbpt.types import Usage


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("trainable", ["prompt", "linear"])
def test_same_bits_and_bytes_as_in_one_process(simulate, toy, clients, rounds, same, serve, host, trainable, dtype):
    costs, results, backend = [], [], toy()
    serve(type(backend)().partition_model(num_prompt_tokens=0, num_classes=1))
    options = {"trainable": trainable, "activation_dtype": dtype, "batch_size": 3}
    remote, local = simulate(clients, backend, body_url=host.url, **options), simulate(clients, **options)
    for simulation in (remote, local):
        states, losses = rounds(simulation, 2)
        pool, score = simulation.pool, simulation.evaluate(states[-1], "test")
        costs.append((pool.bytes_up, pool.bytes_down, pool.usage, score.pool.bytes_up, score.usage, losses))
        results.append((states[-1].parameters, score.confusion.tolist()))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert costs[0] == costs[1]
    assert not backend.forwarded  # the body is at the server


def test_bytes_are_those_that_the_server_saw(serve, host, connect, expected, values, gradients):
    service = serve()
    transport = connect()
    forward, backward = transport.forward(values), transport.backward(gradients)
    assert forward.tobytes() == expected.forward.tobytes()
    assert backward.tobytes() == expected.backward.tobytes()
    assert transport.traffic == (host.up, host.down)
    assert transport.traffic.up == len(pack(values)) + len(pack(gradients))
    assert transport.usage == Usage(3, 1)
    assert not len(service._cache)


def test_only_passes_with_a_backward_are_kept(serve, connect, values):
    service = serve()
    connect(backward=False).forward(values)
    assert not len(service._cache)
    connect(backward=True).forward(values)
    assert len(service._cache) == 1


def test_gradients_need_values_and_go_once(serve, connect, values, gradients):
    serve()
    transport = connect()
    with pytest.raises(RuntimeError, match="never went forward"):
        transport.backward(gradients)
    transport.forward(values)
    transport.backward(gradients)
    with pytest.raises(RuntimeError, match="never went forward"):
        transport.backward(gradients)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_what_diverged_travels_too(serve, connect, make_split, monkeypatch, dtype, values):
    monkeypatch.setattr(make_split, "body", lambda self, parameters, smashed, trained: Forward(smashed, None))
    serve()
    diverged = values.copy()
    diverged[0, 0], diverged[1, 1] = np.inf, np.nan
    answer = connect(dtype, backward=False).forward(diverged)
    assert answer.tobytes() == unpack(pack(unpack(pack(diverged, dtype)), dtype)).tobytes()
    assert not np.isfinite(answer[[0, 1], [0, 1]]).any()


def test_clipped_activations_travel_as_in_one_process(simulate, clients, same, serve, host):
    serve()
    remote, local = (simulate(clients, clip_norm=0.5, **more).states(1)[-1] for more in ({"body_url": host.url}, {}))
    assert same(remote.parameters, local.parameters)


def test_a_server_with_a_token_answers_those_who_send_it(serve, connect, monkeypatch, expected, values, gradients):
    serve(token="correct-horse")
    monkeypatch.setenv("FEDBBPT_TOKEN", "correct-horse")
    transport = connect()
    assert transport.forward(values).tobytes() == expected.forward.tobytes()
    assert transport.backward(gradients).tobytes() == expected.backward.tobytes()


def test_nothing_is_sent_before_a_transport_is_used(method):
    algorithm = method(body_url="http://127.0.0.1:9", keep_fraction=0.5)
    assert algorithm.expected_usage(ClientSizes("client-000", 4, 5, 9), 1) == Usage(2, 1)
    assert set(algorithm.init().parameters) == {"prompt", "tail", "classifier"}
    assert algorithm.parameter_counts(1)["prompt"] == 12
    assert not algorithm.is_queryable

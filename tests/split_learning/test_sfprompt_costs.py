"""What a round of SFPrompt costs: queries, requests and bytes."""

from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.types import Score, Traffic, Update, Usage

MODES = pytest.mark.parametrize("trainable", ["prompt", "linear", "full"])


@pytest.mark.parametrize("limit", [3, 1000])
@pytest.mark.parametrize("batch", [4, 50])
@pytest.mark.parametrize("epochs", [1, 3])
@MODES
def test_the_expected_usage_is_what_the_rounds_then_ask(simulate, toy, clients, limit, batch, epochs, trainable):
    backend = toy(max_batch=limit)
    simulation = simulate(clients, backend, batch_size=batch, epochs=epochs, trainable=trainable, local_epochs=2)
    expected = sum(
        (simulation.algorithm.expected_usage(client, round_) for round_ in (1, 2) for client in simulation.sizes),
        Usage(),
    )
    assert not backend.forwarded
    state, usage = simulation.algorithm.init(), Usage()
    for _ in range(2):
        state, _ = simulation.round(state)
        usage += simulation.pool.usage
    assert expected == usage == Usage(sum(backend.forwarded), len(backend.forwarded))
    assert not backend.calls  # nothing is queried


@pytest.mark.parametrize(("trainable", "crossings"), [("prompt", 4), ("linear", 2), ("full", 4)])
def test_bytes_are_those_of_the_messages(simulate, toy, clients, packed, updates, trainable, crossings):
    backend = toy(width=256)
    simulation = simulate(clients, backend, trainable=trainable, keep_fraction=0.5, batch_size=128, rebuild=True)
    start, _ = simulation.states(1)
    assert len(packed) == crossings * len(clients)
    traffic, pool, replies = sum(packed), simulation.pool, updates(simulation)
    assert sum(sum(update.traffic) for update in replies) == traffic
    assert all(update.traffic.up == update.traffic.down for update in replies)
    down = len(simulation.algorithm.broadcast(start).to_bytes()) * 3
    up = sum(len(content) for _, content in simulation.engine.replies)
    assert (pool.bytes_down, pool.bytes_up) == (down + traffic // 2, up + traffic // 2)
    num_samples, sample_bytes = 2 + 4 + 6, 4 * (2 + 4) * 256  # half of the samples; two prompt tokens, four patches
    assert traffic == pytest.approx(crossings * sample_bytes * num_samples, rel=0.01)


def test_evaluation_crosses_once_in_each_direction(simulate, toy, clients, packed):
    simulation = simulate(clients, toy(max_batch=4))
    algorithm = simulation.algorithm
    start = algorithm.init()
    result = simulation.evaluate(start, "test")
    assert len(packed) == 2 * 3 * 3  # 9 test samples a client, 4 at a time
    assert result.usage == Usage(27, 9)
    message = replace(algorithm.broadcast(start), subset="test")
    assert result.pool.bytes_down == 3 * len(message.to_bytes()) + sum(packed) // 2
    assert result.pool.bytes_up == sum(len(score.to_bytes()) for score in result.scores) + sum(packed) // 2


def test_traffic_travels_with_a_reply_and_adds_nothing_to_others():
    update = Update("client-000", {}, 3, 0.5, Usage(3, 1))
    counted = replace(update, traffic=Traffic(10, 20))
    assert Update.from_bytes(counted.to_bytes()).traffic == Traffic(10, 20)
    assert b"traffic" in counted.to_bytes()
    assert b"traffic" not in update.to_bytes()
    score = Score("client-000", np.eye(2, dtype=np.int64), 0.5, 0, Usage(), Traffic(1, 2))
    assert Score.from_bytes(score.to_bytes()).traffic == Traffic(1, 2)

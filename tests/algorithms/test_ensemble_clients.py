"""What an ensemble's clients are asked, what they store and send, and how they go on when it is lost."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.algorithms import OutOfDateError, ServerState


def test_all_clients_take_part(ensemble, fake_backend, clients):
    simulation = ensemble(clients, fake_backend)
    assert simulation.algorithm.sample(simulation.algorithm.init(), simulation.sizes) == simulation.sizes


def test_candidates_are_the_same_for_all_clients(ensemble, make_backend, clients):
    twins, backend = [clients[1], replace(clients[1], id="twin")], make_backend()
    ensemble(twins, backend).states(1)
    first, second = np.split(np.array(backend.seen)[2 * len(twins[0].train) :], 2)  # behind the answers to the start
    assert first.tolist() == second.tolist()


def test_no_image_is_asked_about_twice_under_the_same_prompt(ensemble, make_backend, make_client):
    backend, clients = make_backend(), [make_client(f"client-{i:03d}", 6, i) for i in range(3)]
    ensemble(clients, backend, num_prompts=3).states(7)
    assert len(backend.seen) == 18 * (1 + 7 * 5)
    assert Counter(backend.seen).most_common(1)[0][1] == 1


def test_answers_stay_with_the_clients(ensemble, spied, fake_backend, clients):
    """What travels up are sums: none of it has a number per example."""
    simulation = ensemble(clients, fake_backend, population=5, num_prompts=3)
    exchanges = spied(simulation)
    simulation.states(1)
    assert {call.handler for call, _ in exchanges} == {"catch_up", "fit_statistics", "train", "commit"}
    for call, replies in exchanges:
        if call.handler == "catch_up":
            assert all(dict(reply.payload) == {} for reply in replies)
        elif call.handler == "train":
            assert {part for reply in replies for part in reply.payload} == {"statistics"}
            assert {reply.payload["statistics"].shape for reply in replies} == {(5, 3 * 3 + 1)}
        else:
            gradients = {2 + 3 * p + 3 for p in (3, 6)}
            cross_validated = {size + 3 for size in gradients}
            moments = {3 + 3 * p + 3 * p * (p + 1) // 2 for p in (0, 3, 6)}
            by_fold = {2 * size for size in moments}
            assert {len(reply.values) for reply in replies} <= gradients | cross_validated | moments | by_fold


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_a_fresh_object_goes_on_from_what_was_saved_with_the_same_bits(
    ensemble, rounds, same, fake_backend, clients, stop
):
    simulation = ensemble(clients, fake_backend, num_prompts=3)
    states, losses = rounds(simulation, 6)
    stopped, resumed = (ensemble(clients, fake_backend, num_prompts=3) for _ in range(2))
    arrays = stopped.states(stop)[-1].to_arrays()
    for client, memory in stopped.memories.items():
        resumed.memories[client].arrays = memory.durable
    asked = len(fake_backend.calls)
    (*_, state), later = rounds(resumed, 6 - stop, ServerState.from_arrays(arrays))
    assert same(state.to_arrays(), states[-1].to_arrays())
    assert later == losses[stop:]
    each = [simulation.algorithm.expected_usage(client, 2).requests for client in simulation.sizes]
    assert len(fake_backend.calls) - asked == (6 - stop) * sum(each)


@pytest.mark.parametrize("done", [1, 2, 4])
def test_a_client_without_answers_is_caught_up_for_a_query_per_prompt_and_example(
    ensemble, same, spied, fake_backend, clients, done
):
    expected = ensemble(clients, fake_backend, num_prompts=3).states(done + 1)
    simulation, lost = ensemble(clients, fake_backend, num_prompts=3), clients[1]
    state = simulation.states(done)[-1]
    simulation.memories[lost.id].arrays = {}
    exchanges = spied(simulation)
    state, _ = simulation.round(state)
    assert same(state.to_arrays(), expected[-1].to_arrays())
    ((reply,),) = [replies for call, replies in exchanges if call.handler == "catch_up"]
    assert reply.usage.queries == min(1 + done, 3) * len(lost.train)
    regular = sum(simulation.algorithm.expected_usage(client, done + 1).queries for client in simulation.sizes)
    assert simulation.pool.usage.queries == regular + reply.usage.queries


@pytest.mark.parametrize("handler", ["train", "fit_statistics", "commit"])
def test_a_client_without_memory_is_out_of_date(ensemble, context_of, fake_backend, clients, handler):
    simulation = ensemble(clients, fake_backend, num_prompts=3)
    state = simulation.states(2)[-1]
    parts = {"prompts": [0], "tried": [1], "readout": np.zeros(3 * 4)}
    parameters = {name: np.asarray(values, np.float32) for name, values in parts.items()}
    message = replace(simulation.algorithm.broadcast(state), parameters={**state.parameters, **parameters})
    with pytest.raises(OutOfDateError):
        simulation.algorithm.handlers[handler](message, context_of(simulation.algorithm, clients[0]))

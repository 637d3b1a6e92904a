"""What goes down in place of θ: losses from which each client makes the server's new parameters, bit for bit."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.algorithms import ClientMemory, OutOfDateError, ServerState, loss_broadcast
from fedbbpt.engines import TUNED
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.padding import Padding
from fedbbpt.types import Message, Update, Usage

OPTIMIZERS = [name for name in registry.names("optimizers") if name not in ("cma", "noop")]


def fails(inputs):
    return inputs[:, 0].mean((1, 2)) > inputs[:, 1].mean((1, 2))


def forget(simulation, client):
    """A client that starts anew, on another machine."""
    memory = simulation.memories[client]
    memory.arrays, memory.version = ClientMemory().arrays, memory.version + 1


def messages_of(simulation):
    """All messages that went down, where only bytes travel."""
    return [Message.from_bytes(message) for message in simulation.engine.messages]


@pytest.fixture
def wide(simulate, make_backend, clients):
    """`wide(**options)`: rounds with a prompt of far more numbers than clients have losses."""

    def start(**options):
        prompt = Padding((8, 8), width=0.5)
        options = {"prompt": prompt, "local_steps": 2, "batch_size": 3} | options
        return simulate(clients, make_backend(fails=fails), **options)

    return start


@pytest.mark.parametrize("server_optimizer", ["mean", "momentum", "adam"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_clients_elsewhere_find_the_same_bits_from_the_losses(wide, same, optimizer, server_optimizer):
    options = {"optimizer": registry.load("optimizers", optimizer), "server_optimizer": server_optimizer}
    together, elsewhere = wide(**options).states(4), wide(rebuild=True, **options)
    for state, expected in zip(elsewhere.states(4), together, strict=True):
        assert same(state.to_arrays(), expected.to_arrays())
    whole = [message for message in messages_of(elsewhere) if "prompt" in message.parameters]
    assert len(whole) == len(elsewhere.sizes), "only the first message has them whole"
    for client in elsewhere.memories.values():  # of the round before the last, as the last losses came after it
        known = ServerState.from_arrays(dict(client.part(TUNED)))
        assert same(known.parameters, {**together[3].parameters, "readout": known.parameters["readout"]})


def test_clients_follow_when_the_server_goes_back_and_halves_its_steps(wide, same):
    options = {"optimizer": partial(SpsaGC, a=1e300)}
    states = wide(rebuild=True, **options).states(6)
    for state, expected in zip(states, wide(**options).states(6), strict=True):
        assert same(state.parameters, expected.parameters)
    assert [float(state.parameters["calibration"][0]) for state in states] == [0.5**i for i in range(len(states))]


@pytest.mark.parametrize("evaluates", [True, False], ids=["evaluated", "unevaluated"])
def test_evaluations_between_rounds_change_nothing(wide, same, evaluates):
    simulation, expected = wide(rebuild=True), wide().states(4)
    state = simulation.algorithm.init()
    for after in expected[1:]:
        if evaluates:
            assert not simulation.evaluate(state, "validation").pool.unusable
        state, _ = simulation.round(state)
        assert same(state.to_arrays(), after.to_arrays())


def test_a_run_goes_on_from_any_round_with_the_same_bits(wide, same):
    states = wide().states(4)
    for state in states[:-1]:
        new, _ = wide().round(state)  # all clients are caught up
        assert same(new.to_arrays(), states[state.round + 1].to_arrays())


def test_a_parameter_vector_evaluates_as_the_losses_that_lead_to_it(wide):
    simulation = wide()
    state = simulation.states(3)[-1]
    assert "prompt" not in simulation.algorithm.broadcast(state).parameters
    whole = replace(state, opt_state={})
    ours, theirs = (simulation.evaluate(one, "test") for one in (state, whole))
    assert [score.to_bytes() for score in ours.scores] == [score.to_bytes() for score in theirs.scores]


def test_what_goes_down_does_not_depend_on_the_dimension(simulate, fake_backend, clients):
    sizes = []
    for width in (0.25, 0.5):
        prompt = Padding((8, 8), width=width)
        simulation = simulate(clients, fake_backend, prompt=prompt, local_steps=1, batch_size=2)
        state = simulation.states(2)[-1]
        sizes.append((prompt.dim, len(simulation.algorithm.broadcast(state).to_bytes())))
    assert sizes[0][0] != sizes[1][0]
    assert sizes[0][1] == sizes[1][1]


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        (Dct((8, 8), frequencies=1), {}),
        (Padding((8, 8), width=0.5), {"participation": 0.5}),
        (Padding((8, 8), width=0.5), {"clients_per_round": 1}),
        (Padding((8, 8), width=0.5), {"upload": "parameters"}),
    ],
    ids=["few numbers", "some clients", "one client", "whole uploads"],
)
def test_parameters_go_down_whole_where_losses_would_not_do(simulate, fake_backend, clients, prompt, options):
    simulation = simulate(clients, fake_backend, prompt=prompt, **options)
    state = simulation.states(2)[-1]
    assert simulation.algorithm.broadcast(state).parameters is state.parameters


@pytest.mark.parametrize("handler", ["train", "evaluate"])
@pytest.mark.parametrize("known", [None, 0, 1])
def test_a_client_without_the_state_before_the_losses_is_out_of_date(wide, context_of, clients, handler, known):
    algorithm, states = wide().algorithm, wide().states(3)
    ctx = context_of(algorithm, clients[0])
    if known is not None:
        loss_broadcast.remember(ctx, states[known])
    message = replace(algorithm.broadcast(states[-1]), subset="test")
    with pytest.raises(OutOfDateError):
        algorithm.handlers[handler](message, ctx)


def test_a_client_that_lost_its_memory_is_caught_up_and_nothing_is_asked_for_it(wide, same, spied):
    simulation, expected = wide(), wide().states(4)
    state = simulation.states(3)[-1]
    forget(simulation, "client-001")
    exchanges = spied(simulation)
    state, _ = simulation.round(state)
    assert same(state.to_arrays(), expected[-1].to_arrays())
    assert [call.handler for call, _ in exchanges[:3]] == ["train", "catch_up", "train"]
    assert [len(replies) for _, replies in exchanges[:3]] == [3, 1, 1]
    ((reply,), wanted) = exchanges[1][1], simulation.algorithm.expected_usage
    assert reply.usage == Usage()
    assert simulation.pool.usage.queries == sum(wanted(client, 4).queries for client in simulation.sizes)
    assert simulation.pool.exchanges == len(exchanges)
    assert not simulation.pool.unusable


def test_catching_up_is_counted_and_takes_as_many_bytes_as_what_it_tells(wide, spied):
    simulation = wide()
    state = simulation.states(3)[-1]
    forget(simulation, "client-002")
    exchanges = spied(simulation)
    simulation.round(state)
    down = sum(len(call.message.to_bytes()) * len(replies) for call, replies in exchanges)
    up = sum(len(reply.to_bytes()) for _, replies in exchanges for reply in replies)
    assert (simulation.pool.bytes_down, simulation.pool.bytes_up) == (down, up)
    assert exchanges[1][0].message.parameters["prompt"].tolist() == state.parameters["prompt"].tolist()


def test_what_others_of_a_process_found_is_taken_from_them(wide, context_of, clients):
    simulation = wide()
    states, asked, shared = simulation.states(2), [], {}
    algorithm, message = simulation.algorithm, simulation.algorithm.broadcast(states[2])
    aggregate = algorithm.aggregate
    for client in clients:
        ctx = replace(context_of(algorithm, client), shared=shared)
        loss_broadcast.remember(ctx, states[1])
        followed = loss_broadcast.follow(message, ctx, lambda *args: asked.append(1) or aggregate(*args))
        assert followed.parameters["prompt"].tolist() == states[2].parameters["prompt"].tolist()
    assert len(asked) == 1


def test_the_broadcast_holds_all_that_an_aggregation_reads():
    updates = [
        Update("client-000", {"losses": np.array([[0.5, np.nan]], np.float16)}, 3, 0.1234567, Usage(4, 2), 0.25),
        Update("ä", {"losses": np.array([[1, 2]], np.float16)}, 5, float("nan"), Usage(), float("nan")),
    ]
    back = loss_broadcast.updates_of(loss_broadcast.gathered(updates))
    for update, again in zip(updates, back, strict=True):
        assert (again.client, again.weight) == (update.client, update.weight)
        np.testing.assert_array_equal([again.loss, again.loss_std], [update.loss, update.loss_std])
        assert again.payload["losses"].tobytes() == update.payload["losses"].tobytes()

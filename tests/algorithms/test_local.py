"""Clients that share nothing: each keeps parameters of its own."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from fedbbpt.algorithms import ServerState
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.local import Local
from fedbbpt.algorithms.loss_broadcast import PARTS
from fedbbpt.algorithms.own_parameters import CURRENT, SELECTED
from fedbbpt.engines import TUNED
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.run.client_pool import MeteredClientPool


def own(simulation, client, which=CURRENT):
    """The parameters that a client keeps, and what `fedavg`'s server would remember; None without any."""
    return ServerState.from_arrays(dict(simulation.memories[client].part(TUNED)), which)


def select(simulation, state):
    """What a run does after a round that is the best so far."""
    return simulation.open_pool(state).send("select", simulation.algorithm.broadcast(state))


def scores(simulation, state, subset="test"):
    return [score.to_bytes() for score in simulation.evaluate(state, subset).scores]


@pytest.mark.parametrize("rebuild", [False, True], ids=["kept", "rebuilt"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"server_optimizer": "momentum"},
        {"server_optimizer": "adam", "server_lr": 0.3},
        {"optimizer": partial(SpsaGC, a=8.0)},  # steps so long that some rounds are taken back
        {"optimizer": partial(SpsaGC, a=8.0), "server_optimizer": "momentum"},
        {"upload": "parameters", "local_steps": 2, "batch_size": 3},
    ],
    ids=["defaults", "momentum", "adam", "divergence", "divergence-momentum", "parameters"],
)
def test_each_client_gets_where_it_gets_alone(simulate, same, fake_backend, clients, options, rebuild):
    together = simulate(clients, fake_backend, Local, rebuild=rebuild, **options)
    state = together.states(5)[-1]
    ours = {score.client: score for score in together.evaluate(state, "test").scores}
    for client in clients:
        averaging = simulate([client], fake_backend, FedAvg, **options)
        alone = averaging.states(5)[-1]
        kept = own(together, client.id)
        assert kept.round == alone.round == 5
        assert same(kept.parameters, alone.parameters)
        assert same(kept.opt_state, {part: v for part, v in alone.opt_state.items() if part not in PARTS})
        (theirs,) = averaging.evaluate(alone, "test").scores
        assert ours[client.id].loss_sum == theirs.loss_sum
        assert np.array_equal(ours[client.id].confusion, theirs.confusion)


def test_the_servers_state_stays_the_common_start(simulate, same, fake_backend, clients):
    start, *states = simulate(clients, fake_backend, Local).states(3)
    assert [state.round for state in states] == [1, 2, 3]
    assert all(same(state.parameters, start.parameters) and not state.opt_state for state in states)


def test_one_clients_divergence_is_no_others(simulate, fake_backend, clients):
    simulation = simulate(clients, fake_backend, Local, optimizer=partial(SpsaGC, a=8.0))
    simulation.states(5)
    assert len({float(own(simulation, client.id).parameters["calibration"][0]) for client in clients}) > 1


def test_a_client_that_was_never_chosen_keeps_the_start(simulate, fake_backend, clients):
    simulation = simulate(clients, fake_backend, Local, participation=0.3)
    start = simulation.algorithm.init()
    before = simulation.evaluate(start, "test").scores
    state, _ = simulation.round(start)
    (chosen,) = [client.id for client in clients if own(simulation, client.id)]
    after = simulation.evaluate(state, "test").scores
    changed = [a.client for a, b in zip(before, after, strict=True) if a.to_bytes() != b.to_bytes()]
    assert changed == [chosen]


def test_a_client_that_is_not_chosen_keeps_what_it_has(simulate, fake_backend, clients):
    simulation = simulate(clients, fake_backend, Local, participation=0.3)
    state, known = simulation.algorithm.init(), []
    for _ in range(6):
        known.append({client.id: simulation.memories[client.id].durable for client in clients})
        state, _ = simulation.round(state)
    known.append({client.id: simulation.memories[client.id].durable for client in clients})
    for before, after in pairwise(known):
        changed = [client for client in after if not _equal(before[client], after[client])]
        assert len(changed) == 1
    assert sum(own(simulation, client.id) is not None for client in clients) > 1


def _equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


def test_the_selected_parameters_are_those_of_the_round_that_was_selected(simulate, same, fake_backend, clients):
    simulation = simulate(clients, fake_backend, Local)
    states, looked = simulation.states(2), []
    assert all(own(simulation, client.id, SELECTED) is None for client in clients)
    select(simulation, states[-1])
    best = {client.id: own(simulation, client.id, SELECTED) for client in clients}
    looked.append(scores(simulation, states[-1]))
    later = simulation.states(3, states[-1])[-1]
    for client in clients:
        kept, current = own(simulation, client.id, SELECTED), own(simulation, client.id)
        assert (kept.round, current.round) == (2, 5)
        assert same(kept.to_arrays(), best[client.id].to_arrays())
        assert not same(kept.parameters, current.parameters)
    assert scores(simulation, states[-1]) == looked[0]  # a run evaluates the best round in the end
    assert scores(simulation, later) != looked[0]


def test_selecting_again_takes_the_place_of_what_was_selected(simulate, same, fake_backend, clients):
    simulation = simulate(clients, fake_backend, Local, server_optimizer="adam")
    state = simulation.algorithm.init()
    for _ in range(2):
        state, _ = simulation.round(state)
        select(simulation, state)
        for client in clients:
            kept, current = own(simulation, client.id, SELECTED), own(simulation, client.id)
            assert same(kept.to_arrays(), current.to_arrays())


def test_who_does_not_take_part_in_the_selected_round_ends_with_what_it_had_then(simulate, fake_backend, clients):
    simulation, looked = simulate(clients, fake_backend, Local, participation=0.3), []
    states = simulation.states(1)
    for _ in range(4):  # the first of them with clients that were never chosen
        everybody = MeteredClientPool(simulation.engine, simulation.algorithm, simulation.sizes, states[-1])
        everybody.send("select", simulation.algorithm.broadcast(states[-1]))
        looked = scores(simulation, states[-1])
        later = simulation.states(5, states[-1])
        assert scores(simulation, later[-1]) != looked
        assert scores(simulation, states[-1]) == looked
        states = later


def test_the_start_can_be_evaluated_after_any_round(simulate, fake_backend, clients):
    simulation = simulate(clients, fake_backend, Local)
    start = simulation.algorithm.init()
    before = scores(simulation, start)
    simulation.states(2, start)
    assert scores(simulation, start) == before


def test_nothing_is_exchanged_for_a_readout_and_nothing_but_losses_comes_back(simulate, spied, fake_backend, clients):
    simulation = simulate(clients, fake_backend, Local)
    exchanges = spied(simulation)
    state, report = simulation.round(simulation.algorithm.init())
    ((call, replies),) = exchanges
    assert call.handler == "train"
    assert all(reply.payload == {} for reply in replies)
    assert report.loss == pytest.approx(np.mean([reply.loss for reply in replies]))
    selected = select(simulation, state)
    assert all(reply.payload == {} and reply.usage.queries == 0 for reply in selected)

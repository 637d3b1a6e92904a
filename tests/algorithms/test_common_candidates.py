"""Common candidates: one optimizer at the server, fed with the losses of all clients."""

import numpy as np
import pytest

from fedbbpt.algorithms.common_candidates import CommonCandidates, mean_of
from fedbbpt.optim import OptimizerStart
from fedbbpt.optim.cma import Cma
from fedbbpt.optim.random_search import RandomSearch
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.readouts.identity import Identity
from fedbbpt.types import Client, Dataset, Update, Usage

ROUNDS = 5


@pytest.fixture
def common(simulate, fake_backend):
    """`common(clients, optimizer)`: rounds in which all measure the same candidates; no readout is fitted."""
    return lambda clients, optimizer=Cma, **options: simulate(
        clients, fake_backend, CommonCandidates, optimizer=optimizer, readout=Identity, **options
    )


def pooled(clients):
    """One client with all their training data."""
    inputs, labels = (np.concatenate([getattr(c.train, part) for c in clients]) for part in ("inputs", "labels"))
    data = Dataset(inputs, labels)
    return [Client("all", data, data, data)]


@pytest.mark.parametrize("optimizer", [Cma, SpsaGC, RandomSearch])
def test_federation_goes_the_way_of_one_party_with_all_the_data(common, clients, optimizer):
    many, one = (common(them, optimizer).states(ROUNDS)[-1].parameters["prompt"] for them in (clients, pooled(clients)))
    assert np.abs(many - one).max() < 1e-4
    assert np.abs(many).max() > 0.05


def test_evolution_strategy_keeps_all_that_it_learns(common, clients):
    simulation = common(clients)
    state = simulation.states(ROUNDS)[-1]
    twin = Cma(OptimizerStart(np.zeros(12), np.random.default_rng([5, 0])))
    for losses in state.opt_state["losses"].astype(np.float64):
        twin.ask()
        twin.tell(losses)
    assert np.array_equal(twin.x.astype(np.float32), state.parameters["prompt"])


def test_a_round_is_one_exchange_and_its_bytes_are_those_of_the_candidates(common, spied, clients):
    simulation = common(clients)
    exchanges = spied(simulation)
    simulation.states(2)
    assert [call.handler for call, _ in exchanges] == ["train", "train"]
    for call, replies in exchanges:
        assert call.message.parameters["candidates"].shape == (11, 12)
        assert [reply.payload["losses"].shape for reply in replies] == [(11,)] * len(clients)


def test_all_clients_measure_the_same(common, spied, clients):
    simulation = common(clients[:1] * 2)
    exchanges = spied(simulation)
    simulation.states(1)
    ((_, (one, other)),) = exchanges
    assert one.payload["losses"].tolist() == other.payload["losses"].tolist()


def test_losses_are_those_of_an_example_and_gaps_count_as_average():
    sums = ([2.0, -2.0, np.nan, np.nan], [0.0, 4.0, -4.0, np.nan])
    updates = [Update("", {"losses": np.array(row, np.float32)}, 2, 1.0, Usage()) for row in sums]
    assert mean_of(updates).tolist()[:3] == [0.5, 0.5, -1.0]
    assert np.isnan(mean_of(updates)[3])


def test_a_rebuilt_server_goes_on_from_the_losses(common, clients):
    states = common(clients).states(ROUNDS)
    resumed = common(clients).states(2, states[ROUNDS - 2])[-1]
    assert resumed.parameters["prompt"].tolist() == states[-1].parameters["prompt"].tolist()

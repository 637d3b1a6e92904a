"""Flooding: every node comes to the server's state, whatever its neighbours do, and the coordinator sees digests."""

from collections.abc import Iterator

import networkx as nx
import pytest

from fedbbpt.algorithms import ServerState
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.flood_log import replies_of
from fedbbpt.algorithms.flood_round import CONTENT
from fedbbpt.engines.serial import Serial
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.dct import Dct
from fedbbpt.testing.expect import same_bits
from fedbbpt.testing.simulation import simulate
from fedbbpt.types import Update
from tests.algorithms.floods import NODES, TOPOLOGIES, Forging, flood, servers, six_nodes, states_of


@pytest.fixture
def toy():
    return six_nodes()


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_all_nodes_have_the_servers_state_bit_for_bit(toy, topology):
    one, expected = flood(toy, topology), servers(toy, 4)
    hops, state = nx.diameter(one.algorithm.topology.graph(0)), one.algorithm.init()
    for server in expected[1:]:
        state, _ = one.round(state)
        assert all(same_bits(own, server) for own in states_of(one).values())
        assert len(states_of(one)) == NODES
        assert (one.pool.exchanges - 1) % (2 + hops) == 0
        assert one.pool.exchanges <= one.algorithm.most_exchanges(state.round)
    revealed = one.result(state)
    assert same_bits(revealed, ServerState.from_arrays(expected[-1]).parameters)


def test_the_round_is_reported_as_by_a_server(toy):
    ours, server = flood(toy), simulate(FedAvg, toy)
    _, expected = server.round(server.algorithm.init())
    assert ours.round(ours.algorithm.init())[1] == expected


def test_bytes_are_counted_where_letters_arrive(toy):
    sent = []

    class Counting(Serial):
        def take_letters(self, call, senders, template) -> Iterator:
            for received in super().take_letters(call, senders, template):
                sent.append(received.traffic.down)
                yield received

    one = flood(toy, engine=Counting)
    one.round(one.algorithm.init())
    assert one.pool.bytes_between == sum(sent)
    assert one.pool.bytes_down > one.pool.bytes_between


def test_nobody_is_told_twice(toy):
    """Over a ring of six, three hops; each node tells its own, then what two neighbours said, then two more."""
    told = []

    class Counting(Forging):
        def change(self, letter) -> Update:
            told.append(sorted(replies_of(letter.payload[CONTENT])))
            return letter

    one = flood(toy, engine=Counting)
    one.round(one.algorithm.init())
    assert told[:3] == [["node-1"], ["node-0", "node-2"], ["node-3", "node-5"]]


def test_the_bytes_of_a_prompt_do_not_depend_on_its_dimension(toy):
    sent = []
    for frequencies in (2, 8):
        one = flood(toy.having(prompt=Dct(toy.backend.info.input_size, frequencies=frequencies)))
        pool, first = one.open_pool(one.algorithm.init()), []

        def watched(handler, message, pool=pool, first=first):
            if handler == "train":
                first.append(pool.bytes_between)
            return pool.send(handler, message)

        one.algorithm.round(one.algorithm.init(), watched)
        sent.append(first[1])  # of the losses, before the readout is fitted
    assert abs(sent[0] - sent[1]) < 0.01 * sent[0]  # digits of other losses


@pytest.mark.parametrize("topology", ["matching", "one-peer-exponential"])
def test_links_that_change_are_refused(toy, topology):
    with pytest.raises(ConfigError, match=f"links that stay the same, and those of '{topology}' change"):
        flood(toy, topology)

"""Flooding: what crosses the links, and that every node comes to the server's parameters."""

from collections import Counter

import networkx as nx
import numpy as np
import pytest

from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.flood import Flood
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.dct import Dct
from fedbbpt.testing import Toy
from fedbbpt.testing.expect import same_bits
from fedbbpt.testing.simulation import simulate
from fedbbpt.testing.toy import toy_client
from fedbbpt.topology import make
from fedbbpt.topology.flooding import crossings

NODES = 6
TOPOLOGIES = ["ring", "torus", "exponential", "star", "complete", "random-regular:3", "erdos-renyi:0.6"]


@pytest.fixture
def toy():
    return Toy(clients=[toy_client(f"node-{i}", 4 + i, i) for i in range(NODES)])


def flooded(graph, letters):
    """Passes letters on, hop by hop; what each node has in the end, and how often each letter crossed a link."""
    known = {node: {node: letters[node]} for node in graph}
    fresh = {node: {node: None} for node in graph}  # letter -> the neighbours it just came from
    crossed, hops = Counter(), 0
    while any(fresh.values()):
        arriving = {node: {} for node in graph}
        for node, new in fresh.items():
            for letter, senders in new.items():
                for neighbour in graph[node]:
                    if neighbour not in (senders or ()):
                        crossed[letter] += 1
                        arriving[neighbour].setdefault(letter, []).append(node)
        fresh = {node: {a: b for a, b in new.items() if a not in known[node]} for node, new in arriving.items()}
        for node, new in fresh.items():
            known[node] |= {letter: letters[letter] for letter in new}
        hops += any(fresh.values())
    return known, crossed, hops


@pytest.mark.parametrize("nodes", [6, 16])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_crossings_are_those_of_letters_that_are_passed_on(topology, nodes):
    graph = make(topology, nodes).graph(0)
    known, crossed, hops = flooded(graph, {node: node for node in graph})
    assert all(set(has) == set(graph) for has in known.values())
    assert crossings(graph).tolist() == [crossed[node] for node in sorted(graph)]
    assert hops == nx.diameter(graph)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_parameters_are_the_servers_bit_for_bit(toy, topology):
    server = simulate(FedAvg, toy).states(4)
    ours = simulate(lambda context: Flood(context, topology=topology), toy).states(4)
    for one, other in zip(server, ours, strict=True):
        assert same_bits(one.to_arrays(), other.to_arrays())


def test_every_node_computes_them_from_what_it_hears(toy):
    """Each node plays the server on its own object, from replies that came to it over a ring."""
    graph = make("ring", NODES).graph(0)
    nodes = [simulate(lambda context: Flood(context, topology="ring"), toy) for _ in range(NODES)]
    speaking = simulate(lambda context: Flood(context, topology="ring"), toy)
    state = speaking.algorithm.init()
    for _ in range(3):
        heard = []
        send = speaking.open_pool(state).send

        def spoken(handler, message, send=send, heard=heard):
            replies = send(handler, message)
            heard.append((handler, message.to_bytes(), flooded(graph, dict(enumerate(replies)))[0]))
            return replies

        expected, _ = speaking.algorithm.round(state, spoken)
        for number, node in enumerate(nodes):
            left = iter(heard)

            def listening(handler, message, left=left, number=number):
                said, asked, known = next(left)
                assert (handler, message.to_bytes()) == (said, asked)  # each node knows what a server would ask
                return [known[number][letter] for letter in range(NODES)]

            own, _ = node.algorithm.round(state, listening)
            assert same_bits(own.to_arrays(), expected.to_arrays())
        state = expected


def test_bytes_are_those_of_all_crossings(toy):
    one = simulate(lambda context: Flood(context, topology="ring"), toy)
    letters = []
    pool = one.open_pool(one.algorithm.init())

    def watched(handler, message):
        replies = pool.send(handler, message)
        letters.extend(len(reply.to_bytes()) * count for reply, count in zip(replies, counts, strict=True))
        return replies

    counts = crossings(make("ring", NODES).graph(0)).tolist()
    one.algorithm.round(one.algorithm.init(), watched)
    assert pool.bytes_between == pool.bytes_up == pool.bytes_down == sum(letters)


def test_the_bytes_of_a_prompt_do_not_depend_on_its_dimension(toy):
    sent = []
    for frequencies in (2, 8):
        larger = toy.having(prompt=Dct(toy.backend.info.input_size, frequencies=frequencies))
        one = simulate(lambda context: Flood(context, topology="ring"), larger)
        replies = one.open_pool(one.algorithm.init()).send("train", one.algorithm.broadcast(one.algorithm.init()))
        sent.append([len(reply.to_bytes()) for reply in replies])
    assert np.abs(np.subtract(*sent)).max() < 16  # digits of other losses


@pytest.mark.parametrize("topology", ["matching", "one-peer-exponential"])
def test_links_that_change_are_refused(toy, topology):
    with pytest.raises(ConfigError, match=f"links that stay the same, and those of '{topology}' change"):
        simulate(lambda context: Flood(context, topology=topology), toy)

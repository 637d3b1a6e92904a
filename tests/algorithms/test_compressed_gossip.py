"""Nodes whose letters say only the most of what has changed (CHOCO-Gossip)."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.errors import ConfigError
from fedbbpt.testing.simulation import simulate
from fedbbpt.topology import make
from tests.algorithms.still_nodes import NODES, Still, distance, own, start, toy

COMPRESSIONS = ["top-k:0.1", "int8"]
TOPOLOGIES = ["ring", "star", "exponential", "complete"]


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_mean_stays_and_the_nodes_come_together(topology, compression):
    one = simulate(partial(Still, topology=topology, gossip_steps=50, compression=compression), toy(20))
    x, state, apart = start(20), one.algorithm.init(), []
    for _ in range(6):
        state, _ = one.round(state)
        before, x = x, own(one)
        assert np.abs(x.mean(0, np.float64) - before.mean(0, np.float64)).max() < 1e-6  # in 50 exchanges, as float32
        apart.append(distance(x) / distance(start(20)))
    assert all(later < max(0.7 * before, 1e-6) for before, later in pairwise(apart))
    assert apart[-1] < 0.01


def test_nodes_go_where_the_paper_says():
    """CHOCO-Gossip, algorithm 1, as plain matrices; copies begin with a whole letter."""
    share, gamma = 0.1, 0.3
    one = simulate(partial(Still, topology="ring", compression=f"top-k:{share}", consensus_step=gamma), toy())
    w = make("ring", NODES, 5).mixing(0).toarray()
    public, state = start().astype(np.float64), one.algorithm.init()
    x = w @ public
    state, _ = one.round(state)
    assert np.allclose(own(one), x, atol=1e-6)
    for _ in range(4):
        changes = x - public
        for row in changes:
            row[np.argsort(-np.abs(row))[round(share * row.size) :]] = 0
        public += changes
        x = x + gamma * (w @ public - public)
        state, _ = one.round(state)
        assert np.allclose(own(one), x, atol=1e-5)


def bytes_of_letters(compression):
    one = simulate(partial(Still, topology="ring", compression=compression), toy())
    state = one.algorithm.init()
    sent = []
    for _ in range(3):
        state, _ = one.round(state)
        sent.append(one.pool.bytes_between)
    return sent


def test_letters_are_as_short_as_is_promised():
    whole = bytes_of_letters("none")
    for compression, share in (("top-k:0.1", 0.25), ("int8", 0.3)):
        first, *others = bytes_of_letters(compression)
        assert first == whole[0]  # from which the public copies begin
        assert all(sent < share * whole[0] for sent in others)


def test_without_compression_letters_are_the_parameters_and_nothing_more_is_kept():
    one = simulate(partial(Still, topology="ring", gossip_steps=2), toy())
    (*_, state) = one.states(1)
    send, letters = one.open_pool(state).send, []

    def watched(handler, message):
        if handler == "mix":
            letters.append(one.memories["node-1"].part("scratch/letters")["node-0/readout"])
        return send(handler, message)

    state, _ = one.algorithm.round(state, watched)
    assert state.opt_state.keys() == {"names"}
    arrays = one.memories["node-1"].arrays
    assert not any("public/" in name or "letters/" in name for name in arrays)
    w, x = make("ring", NODES, 5).mixing(0).toarray(), start()
    for _ in range(3):
        x = mixed(x, w)
    assert np.array_equal(letters[-1], x[0])
    assert np.array_equal(own(one), mixed(x, w))


def mixed(x, w):
    """W x, each row as a node computes it."""
    rows = []
    for i in range(NODES):
        there = [i, *(j for j in range(NODES) if j != i and w[i, j])]
        rows.append((w[i, there] @ x[there]).astype(np.float32))
    return np.stack(rows)


def test_a_rebuilt_node_goes_on_to_the_same_bits():
    make_node = partial(Gossip, topology="ring", gossip_steps=2, compression="int8")
    kept, rebuilt = (simulate(make_node, toy(3), rebuild=rebuild) for rebuild in (False, True))
    for one in (kept, rebuilt):
        one.states(4)
    assert np.array_equal(own(kept), own(rebuilt))


@pytest.mark.parametrize("topology", ["matching", "one-peer-exponential"])
def test_topologies_that_change_are_refused(topology):
    with pytest.raises(ConfigError, match=f"links of topology '{topology}' change; take another topology"):
        Gossip(toy().context(), topology=topology, compression="int8")

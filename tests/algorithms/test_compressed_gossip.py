"""Nodes whose letters say only the most of what has changed (CHOCO-Gossip)."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.algorithms.letters import COMPRESSED
from fedbbpt.algorithms.own_parameters import says
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.testing import Toy
from fedbbpt.testing.simulation import simulate
from fedbbpt.testing.toy import ToyBackend, toy_client
from fedbbpt.topology import make
from fedbbpt.types import Update

NODES, CLASSES = 5, 100
COMPRESSIONS = ["top-k:0.1", "int8"]
TOPOLOGIES = ["ring", "star", "exponential", "complete"]


def drawn(node, size):
    return np.random.default_rng(int(node)).standard_normal(size).astype(np.float32)


class Still(Gossip):
    """Nodes that begin with parameters drawn at random, and take no steps."""

    def _train(self, message, ctx):
        own = self._own(message, ctx)
        if message.round == 1:
            self._store(own, {"readout": drawn(ctx.id[-1], own.parameters["readout"].size)}, message, ctx)
        return says(ctx, {})


def toy(classes=CLASSES):
    backend = ToyBackend(classes=[f"class {i}" for i in range(classes)])
    clients = [toy_client(f"node-{i}", 4 + i, i) for i in range(NODES)]
    return Toy(backend, prompt=NoPrompt(backend.info.input_size), clients=clients)


def own(one):
    return np.stack([memory.arrays["tuned/current/parameters/readout"] for memory in one.memories.values()])


def start(classes=CLASSES):
    return np.stack([drawn(i, classes * (classes + 1)) for i in range(NODES)])


def distance(x):
    return np.sqrt(((x - x.mean(0, np.float64)) ** 2).sum(1).mean())


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
    (*_, state) = one.states(2)
    assert state.opt_state.keys() == {"names"}
    assert not any("public/" in name for name in one.memories["node-1"].arrays)
    letter = one.memories["node-1"].part("scratch/letters")["node-0/readout"]
    w = make("ring", NODES, 5).mixing(0).toarray()
    x = start()
    for _ in range(3):
        x = mixed(x, w)
    assert np.array_equal(letter, x[0])
    assert np.array_equal(own(one), mixed(x, w))


def mixed(x, w):
    """W x, each row as a node computes it."""
    rows = []
    for i in range(NODES):
        there = [i, *(j for j in range(NODES) if j != i and w[i, j])]
        rows.append((w[i, there] @ x[there]).astype(np.float32))
    return np.stack(rows)


def compressed_exchanges(one, state):
    """Runs a round; returns the state, and which of its exchanges had compressed letters."""
    pool, found = one.open_pool(state), []

    def send(handler, message):
        if handler == "letter":
            found.append(all(COMPRESSED in told.parameters for told in message.values()))
        return pool.send(handler, message)

    state, _ = one.algorithm.round(state, send)
    return state, found


@pytest.fixture
def running():
    """Five nodes on a ring that train for two rounds of two exchanges; and their state."""
    one = simulate(partial(Gossip, topology="ring", gossip_steps=2, compression="top-k:0.3"), toy(3))
    state, first = compressed_exchanges(one, one.algorithm.init())
    state, second = compressed_exchanges(one, state)
    assert (first, second) == ([False, True], [True, True])
    return one, state


def check_copies(one):
    """All public copies of a node are the same numbers."""
    copies = {}
    for name, memory in one.memories.items():
        arrays = memory.part("tuned")
        neighbours = arrays["public/neighbours"].tobytes().decode().split("\n")
        for who, row in zip([name, *neighbours], arrays["public/parts/readout"], strict=True):
            copies.setdefault(who, []).append(row.tobytes())
    assert all(len(found) == 3 and len(set(found)) == 1 for found in copies.values())


def test_public_copies_are_the_same_at_both_ends(running):
    check_copies(running[0])


def test_a_node_that_was_away_is_told_all_and_so_are_the_others(running):
    one, state = running
    pool = one.open_pool(state)
    pool.dropped["node-2"] = "killed"
    state, _ = one.algorithm.round(state, pool.send)
    before = own(one)
    state, found = compressed_exchanges(one, state)
    assert found == [False, True]
    assert not one.pool.lost
    assert (own(one) != before).any(1).all()
    check_copies(one)


def test_after_a_lost_letter_everybody_is_told_all(running, monkeypatch):
    one, state = running
    take = type(one.engine).take_letters

    def loses(self, call, senders, template):
        for received in take(self, call, senders, template):
            if received.client == "node-1":
                part = self._memories["node-1"].part("scratch/letters")
                for name in [name for name in part if name.startswith("node-2/")]:
                    del part[name]
                yield type(received)("node-1", {"node-2": "was lost"}, received.traffic)
            else:
                yield received

    with monkeypatch.context() as patch:
        patch.setattr(type(one.engine), "take_letters", loses)
        state, found = compressed_exchanges(one, state)
    assert found == [True, False]
    trained = own(one)
    state, found = compressed_exchanges(one, state)
    assert found == [False, True]
    check_copies(one)
    assert (own(one) != trained).any(1).all()


def test_a_lost_letter_leaves_the_mean(monkeypatch):
    one = simulate(partial(Still, topology="ring", compression="top-k:0.1"), toy())
    (*_, state) = one.states(3)
    mean = own(one).mean(0, np.float64)
    written = Still._letter

    def forged(self, message, ctx):
        letter = written(self, message, ctx)
        nan = {name: np.full_like(a, np.nan) if a.dtype == np.float32 else a for name, a in letter.payload.items()}
        return Update(ctx.id, nan, 1, np.nan, letter.usage) if ctx.id == "node-3" else letter

    monkeypatch.setattr(Still, "_letter", forged)
    for _ in range(3):
        state, _ = one.round(state)
        assert one.pool.lost.keys() == {("node-2", "node-3"), ("node-4", "node-3")}
        assert not one.pool.unusable
    monkeypatch.undo()
    state, found = compressed_exchanges(one, state)
    assert found == [False]
    state, _ = one.round(state)
    assert np.abs(own(one).mean(0, np.float64) - mean).max() < 1e-6


def test_a_node_that_lost_its_memory_takes_whole_letters_and_then_all_do(running):
    one, state = running
    before = own(one)
    one.memories["node-1"].replace({})
    pool, taken = one.open_pool(state), []
    take = one.engine.take_letters

    def watched(call, senders, template):
        taken.append((sorted(senders), COMPRESSED in call.message.parameters, sorted(template.payload)))
        return take(call, senders, template)

    one.engine.take_letters = watched
    state, _ = one.algorithm.round(state, pool.send)
    everybody = sorted(one.memories)
    changes = ["readout.places", "readout.values"]
    assert taken == [
        (["node-1"], False, ["prompt", "readout"]),  # to begin with
        (everybody, True, changes),  # node-1 cannot say what has changed, and hears nobody
        (everybody, False, ["prompt", "readout"]),
    ]
    assert pool.lost.keys() == {("node-0", "node-1"), ("node-2", "node-1")}
    assert not pool.unusable
    check_copies(one)
    assert (own(one) != before).any(1).all()
    state, found = compressed_exchanges(one, state)
    assert found == [True, True]


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

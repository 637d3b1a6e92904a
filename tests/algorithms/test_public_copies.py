"""What nodes know of each other from compressed letters, where nodes or letters are missing."""

from functools import partial

import numpy as np
import pytest

from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.algorithms.letters import COMPRESSED
from fedbbpt.testing.simulation import simulate
from fedbbpt.types import Update
from tests.algorithms.still_nodes import Still, own, toy


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


def test_a_node_that_goes_on_from_an_earlier_round_is_not_taken_for_one_that_was_there(running):
    one, state = running
    earlier = one.memories["node-3"].durable
    state, _ = compressed_exchanges(one, state)
    one.memories["node-3"].replace(earlier)
    pool, mean = one.open_pool(state), []

    def send(handler, message):
        replies = pool.send(handler, message)
        mean.append(own(one).mean(0, np.float64))
        return replies

    state, _ = one.algorithm.round(state, send)
    assert pool.lost.keys() == {("node-2", "node-3"), ("node-4", "node-3")}
    assert not pool.unusable
    _, *after_exchanges = mean  # after the steps, letters leave it, and so do averages
    assert np.allclose(after_exchanges, after_exchanges[0], atol=1e-6)
    check_copies(one)

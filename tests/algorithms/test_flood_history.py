"""Who comes late to a flood plays what all have said, as long as that is shorter than the state."""

import numpy as np
import pytest

from fedbbpt.algorithms import ServerState
from fedbbpt.algorithms.flood_history import HISTORY, packed_rounds, replayed, rounds_of
from fedbbpt.algorithms.flood_log import digest, packed_state
from fedbbpt.algorithms.flood_node import Server
from fedbbpt.algorithms.flood_round import CONTENT
from fedbbpt.algorithms.own_parameters import CURRENT
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.identity import Identity
from fedbbpt.testing.expect import same_bits
from fedbbpt.types import Update, wire
from tests.algorithms.floods import Forging, flood, servers, six_nodes, states_of

LATE = "node-2"  # between the forger and an honest node, on a ring


class Wide(Dct):
    """A prompt of many numbers, of which the first few matter."""

    def __init__(self, size, /) -> None:
        super().__init__(size, frequencies=2)
        self._used, self.dim = self.dim, 20_000

    def apply(self, theta, inputs, features):
        return super().apply(theta[:, : self._used], inputs, features)


@pytest.fixture
def toy():
    one = six_nodes()
    return one.having(prompt=Wide((8, 8)), readout=Identity(one.backend.info, one.backend.info.classes))


def history(one, node="node-0"):
    return one.memories[node].part("tuned").get(HISTORY)


def written_to(one, node, state):
    """The lengths of what the late node's neighbours write to it when it catches up."""
    one.memories[node].replace({})
    lengths = []

    def seen(letter: Update) -> Update:
        lengths.append(len(letter.payload[CONTENT]))
        return letter

    one.engine.change = seen
    one.round(state)
    return lengths


def test_a_late_node_hears_losses_in_place_of_a_large_state(toy):
    one, expected = flood(toy, "ring", Forging), servers(toy, 4)
    (*_, state) = one.states(3)
    whole = len(packed_state(_state(one)))
    assert written_to(one, LATE, state)[0] < whole / 10
    assert not one.pool.unusable
    assert all(same_bits(own, expected[-1]) for own in states_of(one).values())
    assert all((history(one, node) == history(one)).all() for node in one.memories)
    assert len(rounds_of(history(one))) == 4


def _state(one):
    return ServerState.from_arrays(one.memories["node-0"].part("tuned"), CURRENT)


def test_what_is_longer_than_the_state_is_not_kept():
    one = flood(six_nodes(), "ring", Forging)
    (*_, state) = one.states(1)
    assert history(one) is None
    whole = len(packed_state(_state(one)))
    assert written_to(one, LATE, state)[0] == whole
    assert not one.pool.unusable
    assert history(one, LATE) is None


def test_a_forged_history_leads_nowhere(toy):
    one, expected = flood(toy, "ring", Forging), servers(toy, 3)
    (*_, state) = one.states(2)
    one.memories[LATE].replace({})

    def forged(letter: Update) -> Update:
        content = letter.payload[CONTENT].copy()
        content[len(content) // 2] ^= 1
        return Update(letter.client, {CONTENT: content}, letter.weight, letter.loss, letter.usage)

    changed = []
    one.engine.change = lambda letter: changed.append(letter) or forged(letter) if not changed else letter
    one.round(state)
    assert changed
    assert not one.pool.unusable
    assert all(same_bits(own, expected[-1]) for own in states_of(one).values())


def test_any_bytes_are_told_from_a_history(toy):
    one = flood(toy)
    one.states(2)
    server, packed = Server(toy.context()), history(one)
    wanted = digest(packed_state(_state(one)))
    assert replayed(server, packed, wanted) is not None
    assert replayed(server, packed_rounds(rounds_of(packed)[:1]), wanted) is None  # a round is missing
    rng = np.random.default_rng(0)
    for _ in range(30):
        changed = packed.copy()
        changed[rng.integers(len(packed))] ^= 1 << rng.integers(8)
        assert replayed(server, changed[: rng.integers(1, len(packed) + 1)], wanted) is None
    arrays = {"0": np.zeros(3, np.uint8)}
    for lengths in ([-1, 2], [True], ["1"], [5], "ab"):
        with pytest.raises(ValueError, match="lengths"):
            rounds_of(np.frombuffer(wire.packed(arrays, lengths=lengths), np.uint8))

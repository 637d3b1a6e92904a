"""Nodes of a flood that drop out, lose their memory, forge or come to other bits: what is done without them."""

from collections.abc import Iterator
from hashlib import sha256

import numpy as np
import pytest

from fedbbpt.algorithms import ServerState
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.flood_log import SALT_SIZE, packed_replies, replies_of
from fedbbpt.algorithms.flood_round import CONTENT
from fedbbpt.algorithms.letters import LETTER
from fedbbpt.algorithms.local_steps import LocalSteps
from fedbbpt.algorithms.loss_broadcast import without_broadcast
from fedbbpt.engines.serial import Serial
from fedbbpt.errors import BackendError
from fedbbpt.testing.expect import same_bits
from fedbbpt.testing.simulation import simulate
from fedbbpt.types import Message, Update
from tests.algorithms.floods import Dropping, Forging, flood, servers, six_nodes, states_of


@pytest.fixture
def toy():
    return six_nodes()


@pytest.mark.parametrize("handler", ["train", "hear"])
@pytest.mark.parametrize("answered", [0, 1, 3])
def test_a_node_that_drops_out_comes_back_to_the_same_bits(toy, handler, answered):
    one = flood(toy, "ring", Dropping)
    (*_, state) = one.states(1)
    one.engine.at = ("node-2", handler, answered)
    state, _ = one.round(state)
    assert one.pool.dropped == {"node-2": "killed"}
    state, _ = one.round(state)
    assert not one.pool.dropped | one.pool.unusable
    assert len({own["parameters/prompt"].tobytes() for own in states_of(one).values()}) == 1
    assert all(same_bits(own, states_of(one)["node-0"]) for own in states_of(one).values())


def test_what_a_node_said_counts_though_it_dropped_out_afterwards(toy):
    one = flood(toy, "ring", Dropping)
    one.engine.at = ("node-2", "train", 1)
    one.round(one.algorithm.init())
    server, gone = simulate(FedAvg, toy), []
    pool = server.open_pool(server.algorithm.init())

    def dropping(handler, message):
        if handler != "train" and not gone:
            gone.append("node-2")
            pool.dropped["node-2"] = "killed"
        return pool.send(handler, message)

    expected, _ = server.algorithm.round(server.algorithm.init(), dropping)
    assert same_bits(states_of(one)["node-0"], without_broadcast(expected).to_arrays())


def test_a_node_without_a_memory_takes_the_state_of_a_neighbour(toy):
    one, expected = flood(toy), servers(toy, 3)
    (*_, state) = one.states(2)
    one.memories["node-4"].replace({})
    one.round(state)
    assert not one.pool.unusable
    assert all(same_bits(own, expected[-1]) for own in states_of(one).values())


def test_neighbours_may_be_nodes_that_never_took_part(toy):
    one = flood(toy, "ring")
    pool = one.open_pool(state := one.algorithm.init())
    pool.dropped["node-5"] = "killed"
    state, _ = one.algorithm.round(state, pool.send)
    one.memories["node-4"].replace({})
    assert one.algorithm.neighbours(state, ["node-3", "node-4"]) == {"node-3": ["node-4"], "node-4": ["node-3"]}
    one.round(state)
    assert not one.pool.unusable
    assert all(same_bits(own, states_of(one)["node-0"]) for own in states_of(one).values())


def test_a_node_with_another_state_is_brought_back(toy):
    one, expected = flood(toy), servers(toy, 3)
    (*_, state) = one.states(2)
    own = one.memories["node-4"].part("tuned")
    own["current/parameters/prompt"] = own["current/parameters/prompt"] + 1
    one.round(state)
    assert all(same_bits(own, expected[-1]) for own in states_of(one).values())


def test_a_node_that_comes_to_another_state_is_named(toy):
    class Lying(Serial):
        def send(self, call, clients, on_dropped=None) -> Iterator:
            for client, reply in zip(clients, super().send(call, clients, on_dropped), strict=True):
                ends = call.handler == "train" and client == "node-3" and reply.payload["figures"][0]
                yield _with(reply, digest=np.zeros(32, np.uint8)) if ends else reply

    one = flood(toy, engine=Lying)
    state, report = one.round(one.algorithm.init())
    assert report.left_out == {"node-3": "came to another state than most nodes"}
    assert same_bits(one.result(state), ServerState.from_arrays(servers(toy, 1)[-1]).parameters)


def _with(reply, **payload):
    return Update(reply.client, {**reply.payload, **payload}, reply.weight, reply.loss, reply.usage)


def _letter(change):
    def changed(letter):
        return _with(letter, content=packed_replies(change(replies_of(letter.payload[CONTENT]))))

    return changed


FORGERIES = {
    "another's reply": _letter(lambda replies: {n: r if n == "node-1" else r[:-1] + b"x" for n, r in replies.items()}),
    "of nobody": _letter(lambda replies: replies if "node-1" in replies else replies | {"node-9": b"reply"}),
    "its own as another's": _letter(
        lambda replies: replies if "node-1" in replies else dict.fromkeys(replies, b"what node-1 would have them say")
    ),
    "garbage": lambda letter: _with(letter, content=letter.payload[CONTENT][:20]),
    "an earlier letter": lambda letter: EARLIER.setdefault(letter.client, letter),
}
EARLIER: dict[str, Update] = {}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_neighbour_that_forges_is_refused_and_named(toy, forgery):
    EARLIER.clear()
    one, expected = flood(toy, "ring", Forging), servers(toy, 3)
    (*_, state) = one.states(1)
    one.engine.change = FORGERIES[forgery]
    state, report = one.round(state)
    assert {sender for _, sender in report.lost} == {"node-1"}
    assert set(report.lost.values()) == {"sent as another node's reply what that node has not said"}
    assert len({own["parameters/prompt"].tobytes() for own in states_of(one).values()}) == 1
    if forgery not in ("garbage", "an earlier letter"):  # which keep its own reply from the others
        assert all(same_bits(own, expected[2]) for own in states_of(one).values())


def test_what_nobody_can_use_is_left_out_by_all_and_named(toy, monkeypatch):
    train = LocalSteps.train

    def poisoned(self, message, ctx):
        update = train(self, message, ctx)
        losses = np.full_like(update.payload["losses"], np.inf)
        return _with(update, losses=losses) if ctx.id == "node-1" else update

    monkeypatch.setattr(LocalSteps, "train", poisoned)
    one, expected = flood(toy), servers(toy, 1)
    _, report = one.round(one.algorithm.init())
    assert report.left_out == {"node-1": "sent a reply that nobody can use"}
    assert all(same_bits(own, expected[-1]) for own in states_of(one).values())


def test_a_neighbours_forged_state_is_refused(toy):
    one = flood(toy, "ring", Forging)
    (*_, state) = one.states(2)
    one.memories["node-2"].replace({})  # between the forger and an honest node
    one.engine.change = lambda letter: letter if len(letter.payload[CONTENT]) < 4000 else _changed(letter)
    one.round(state)
    assert not one.pool.unusable
    assert all(same_bits(own, servers(toy, 3)[-1]) for own in states_of(one).values())


def _changed(letter):
    content = letter.payload[CONTENT].copy()
    content[-1] ^= 1
    return _with(letter, content=content)


def test_what_reaches_most_counts_and_who_hears_nothing_is_left_out(toy):
    class Deaf(Serial):
        def take_letters(self, call, senders, template) -> Iterator:
            for received in super().take_letters(call, senders, template):
                if received.client == "node-3":
                    self._memories["node-3"].take_letters({})
                yield received

    one, expected = flood(toy, "complete", Deaf), servers(toy, 1)
    _, report = one.round(one.algorithm.init())
    assert report.left_out == {"node-3": "has not heard what most nodes have"}
    assert not same_bits(states_of(one)["node-0"], expected[-1])  # for it was left out of the readout's fit


def test_nodes_that_fall_apart_are_one_sentence(toy):
    one = flood(toy, "ring")
    (*_, state) = one.states(1)
    pool = one.open_pool(state)
    pool.dropped |= {"node-1": "killed", "node-4": "killed"}
    with pytest.raises(BackendError, match=r"parts: node-0, node-5 \| node-2, node-3\).*continue with --resume, or"):
        one.algorithm.round(state, pool.send)


def test_letters_that_reach_nobody_are_one_sentence(toy):
    class Cut(Serial):
        def take_letters(self, call, senders, template) -> Iterator:
            for received in super().take_letters(call, senders, template):
                self._memories[received.client].take_letters({})
                yield received

    one = flood(toy, "ring", Cut)
    with pytest.raises(BackendError, match="what they said did not reach most of them"):
        one.round(one.algorithm.init())


def test_the_coordinator_sees_no_losses_sums_or_parameters(toy):
    one, seen = flood(toy, "ring"), []
    pool, letters = one.open_pool(one.algorithm.init()), []
    send = pool.engine.send

    def spoken(call, clients, on_dropped=None):
        replies = list(send(call, clients, on_dropped))
        (letters if call.handler == LETTER else seen).extend(reply.to_bytes() for reply in replies)
        messages = [call.message] if isinstance(call.message, Message) else call.message.values()
        seen.extend(message.to_bytes() for message in messages)
        return iter(replies)

    pool.engine.send = spoken
    one.algorithm.round(one.algorithm.init(), pool.send)
    told = [replies_of(Update.from_bytes(letter).payload[CONTENT]) for letter in letters]
    numbers = {reply[-16:] for replies in told for reply in replies.values()}  # of the array at its end
    numbers |= {array.tobytes() for array in states_of(one)["node-0"].values() if array.size > 3}
    assert len(numbers) > 20
    assert not [number for number in numbers for content in seen if number in content]
    guesses = {sha256(reply[SALT_SIZE:]).digest() for replies in told for reply in replies.values()}
    assert not [guess for guess in guesses for content in seen if guess in content]  # nor what could be found by trying

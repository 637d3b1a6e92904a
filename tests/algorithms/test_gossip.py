"""Nodes without a server, beside a twin that is written to be read: DFedSAM-MGS on a softmax regression."""

import numpy as np
import pytest
from scipy.special import log_softmax

from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.engines.serial import Serial
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.temperature_scaling import TemperatureScaling
from fedbbpt.testing import Toy
from fedbbpt.testing.simulation import simulate
from fedbbpt.testing.toy import ToyBackend, toy_client
from fedbbpt.topology import make

NODES = 5
L2 = 0.004  # of the linear readout


@pytest.fixture
def toy():
    """Five nodes with 4 to 12 pictures, and no prompt: all that is trained has an exact gradient."""
    backend = ToyBackend()
    clients = [toy_client(f"node-{i}", train, i) for i, train in enumerate((4, 7, 12, 5, 9))]
    return Toy(backend, prompt=NoPrompt(backend.info.input_size), clients=clients)


class Twin:
    """One node's loss and steps: log p = log_softmax(s + A x / √C + a), x the centred scores s."""

    def __init__(self, backend, data):
        scores = backend.query(data.batch(slice(None)).inputs).scores.astype(np.float64)
        self.s = scores - scores.mean(1, keepdims=True)
        self.x = np.concatenate([self.s / np.sqrt(3), np.ones((len(self.s), 1))], 1)
        self.labels = data.labels

    def gradient(self, w):
        weights = np.concatenate([w[:9].reshape(3, 3), w[9:, None]], 1)
        p = np.exp(log_softmax(self.s + self.x @ weights.T, 1))
        p[np.arange(len(p)), self.labels] -= 1
        by_weight = p.T @ self.x / len(p)
        return np.concatenate([by_weight[:, :3].ravel(), by_weight[:, 3]]) + L2 * w

    def steps(self, w, count, lr, momentum, rho):
        lr /= np.linalg.eigvalsh(self.x.T @ self.x / len(self.x))[-1] / 2 + L2
        velocity = np.zeros_like(w)
        for _ in range(count):
            g = self.gradient(w)
            g = self.gradient(w + rho * g / np.linalg.norm(g)) if rho else g
            velocity = momentum * velocity + g
            w = w - lr * velocity
        return w


def twins(toy, rounds, topology, gossip_steps, count=10, lr=1.0, momentum=0.0, rho=0.0):
    """The weights (rounds, nodes, m) after each round, with the mixing as a plain matrix product."""
    nodes = [Twin(toy.backend, client.train) for client in toy.clients]
    graph = make(topology, NODES, 5)
    w, history = np.zeros((NODES, 12)), []
    for round_ in range(rounds):
        w = np.stack([node.steps(own, count, lr, momentum, rho) for node, own in zip(nodes, w, strict=True)])
        for step in range(gossip_steps):
            w = graph.mixing(round_ * gossip_steps + step).toarray() @ w
        history.append(w)
    return np.stack(history)


def own(one, part):
    return np.stack([memory.arrays[f"tuned/current/parameters/{part}"] for memory in one.memories.values()])


def own_weights(one):
    return own(one, "readout")


def gossip(toy, **options):
    return simulate(lambda context: Gossip(context, **options), toy)


@pytest.mark.parametrize("topology", ["ring", "exponential", "matching", "one-peer-exponential"])
@pytest.mark.parametrize(
    ("gossip_steps", "options"),
    [
        (1, {}),
        (3, {}),
        (1, {"momentum": 0.9}),
        (1, {"rho": 0.05}),
        (4, {"rho": 0.05, "momentum": 0.5}),
    ],
    ids=["dfedavg", "dfedavg, Q = 3", "dfedavgm", "dfedsam", "dfedsam-mgs"],
)
def test_nodes_end_where_the_twin_does(toy, topology, gossip_steps, options):
    expected = twins(toy, 6, topology, gossip_steps, **options)
    one = gossip(toy, topology=topology, gossip_steps=gossip_steps, **options)
    state = one.algorithm.init()
    for weights in expected:
        state, report = one.round(state)
        assert np.allclose(own_weights(one), weights, atol=1e-6)
        apart = np.sqrt(((weights - weights.mean(0)) ** 2).sum(1).mean())
        assert report.consensus_distance == pytest.approx(apart, rel=0.5, abs=1e-6)
    mean = one.algorithm.result(state, one.open_pool(state).send)
    assert np.allclose(mean["readout"], expected[-1].mean(0), atol=1e-6)


def test_on_a_complete_graph_all_nodes_have_the_mean(toy):
    expected = twins(toy, 5, "complete", 1)
    one = gossip(toy, topology="complete")
    one.states(5)
    assert np.allclose(own_weights(one), expected[-1].mean(0), atol=1e-6)


def test_prompts_and_readouts_are_mixed_with_the_same_weights():
    toy = Toy(clients=[toy_client(f"node-{i}", 6 + i, i) for i in range(NODES)])
    one, before = gossip(toy, topology="ring"), {}
    send = one.open_pool(one.algorithm.init()).send

    def watched(handler, message):
        if handler == "mix":
            before.update({part: own(one, part) for part in Gossip._mixed})
        return send(handler, message)

    one.algorithm.round(one.algorithm.init(), watched)
    w = make("ring", NODES, 5).mixing(0).toarray()
    for part in Gossip._mixed:
        assert np.ptp(before[part], 0).any()
        assert np.allclose(own(one, part), w @ before[part], atol=1e-6)


def test_bytes_are_counted_where_they_arrive_once_for_each_link(toy):
    one = gossip(toy, topology="ring", gossip_steps=2)
    one.states(1)
    pool = one.pool
    assert pool.exchanges == 5 == one.algorithm.most_exchanges(1)
    numbers = 12 + 0  # of the readout; there is no prompt
    letters = 2 * 2 * NODES  # two neighbours each, twice
    assert 4 * numbers * letters < pool.bytes_between < (4 * numbers + 300) * letters
    assert pool.bytes_up > pool.bytes_between
    assert pool.bytes_down > pool.bytes_between


def test_a_node_that_is_gone_is_left_out_and_the_others_go_on(toy):
    one = gossip(toy, topology="ring", gossip_steps=2)
    (*_, state) = one.states(2)
    before = own_weights(one)
    pool = one.open_pool(state)
    pool.dropped["node-2"] = "killed"
    state, report = one.algorithm.round(state, pool.send)
    after = own_weights(one)
    assert np.array_equal(after[2], before[2])
    others = [0, 1, 3, 4]
    assert (after[others] != before[others]).any(1).all()
    state, report = one.round(state)  # and it comes back
    assert np.isfinite(report.consensus_distance)
    assert (own_weights(one)[2] != before[2]).any()


def test_a_letter_that_cannot_be_used_costs_its_two_ends_their_link(toy):
    one = gossip(toy, topology="ring", readout_steps=1)
    (*_, state) = one.states(2)
    pool, before = one.open_pool(state), {}
    one.memories["node-2"].arrays["tuned/current/parameters/readout"][:] = 1e8

    def watched(handler, message):
        if handler == "mix":
            before["all"] = own_weights(one)
        return pool.send(handler, message)

    one.algorithm.round(state, watched)
    assert pool.lost.keys() == {("node-1", "node-2"), ("node-3", "node-2")}
    assert "1,000 times as large" in pool.lost["node-1", "node-2"]
    w = make("ring", NODES, 5).mixing(2, lost=[(1, 2), (3, 2)]).toarray()
    assert np.allclose(own_weights(one)[[0, 1, 3, 4]], (w @ before["all"])[[0, 1, 3, 4]], atol=1e-5)


@pytest.mark.parametrize("handler", ["train", "mix"])
def test_if_all_nodes_are_gone_it_is_one_sentence(toy, monkeypatch, handler):
    one = gossip(toy, topology="ring")
    (*_, state) = one.states(1)
    send = Serial.send

    def killed(self, call, clients, on_dropped=None):
        if call.handler != handler:
            return send(self, call, clients, on_dropped)
        for client in clients:
            on_dropped(client, "killed")
        return iter(())

    monkeypatch.setattr(Serial, "send", killed)
    with pytest.raises(BackendError, match=r"all clients of round 2 dropped out before they replied .killed."):
        one.round(state)


def test_a_node_that_lost_its_parameters_takes_its_neighbours_mean_in_their_place(toy):
    one = gossip(toy, topology="ring")
    (*_, state) = one.states(3)
    memory = one.memories["node-1"]
    memory.replace({})
    send = one.open_pool(state).send
    send("train", one.algorithm.broadcast(state))
    assert not one.pool.unusable
    steps = one.algorithm._steps
    expected = steps.taken(own_weights(one)[[0, 2]].mean(0), _data(toy, 1))
    assert np.allclose(memory.arrays["tuned/current/parameters/readout"], expected, atol=1e-6)


def _data(toy, client):
    data = toy.clients[client].train
    scores = toy.backend.query(data.batch(slice(None)).inputs).scores
    return toy.model.readout.fit_data(scores[:, None], data.labels)


def test_without_a_readout_prompts_alone_are_mixed():
    backend = ToyBackend()
    toy = Toy(backend, readout=Identity(backend.info, backend.info.classes))
    one = gossip(toy, topology="complete")
    (*_, state) = one.states(3)
    prompts = own(one, "prompt")
    mean = one.algorithm.result(state, one.open_pool(state).send)["prompt"]
    assert np.allclose(prompts, mean, atol=1e-6)
    assert mean.any()


def test_other_readouts_are_refused():
    backend = ToyBackend()
    toy = Toy(backend, readout=TemperatureScaling(backend.info, backend.info.classes))
    with pytest.raises(ConfigError, match="use --readout linear or identity"):
        gossip(toy)


def test_nodes_are_the_nearer_to_each_other_the_better_they_are_connected():
    backend = ToyBackend()
    clients = [toy_client(f"node-{i:02d}", 12, i) for i in range(16)]
    toy = Toy(backend, prompt=NoPrompt(backend.info.input_size), clients=clients)
    apart = {}
    for topology, steps in (("ring", 1), ("ring", 4), ("exponential", 1), ("complete", 1)):
        one = gossip(toy, topology=topology, gossip_steps=steps, readout_steps=1)
        state = one.algorithm.init()
        for _ in range(30):
            state, report = one.round(state)
        apart[topology, steps] = report.consensus_distance
    assert apart["ring", 1] > 2 * apart["ring", 4] > 2 * apart["complete", 1]
    assert apart["ring", 1] > apart["exponential", 1]
    assert apart["complete", 1] < 1e-6

"""SFPrompt without a server, beside a twin: one batch of all samples, and plain matrices for the averages."""

from functools import partial

import numpy as np
import pytest

from fedbbpt.algorithms import ClientSizes
from fedbbpt.algorithms.sharpness import SHARPNESS
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.none import NoReadout
from fedbbpt.split_learning.gossip_sfprompt import GossipSFPrompt
from fedbbpt.testing import PartitionableToy, Toy
from fedbbpt.testing.simulation import simulate as simulate_nodes
from fedbbpt.topology import make
from fedbbpt.types import Traffic, Usage

NODES, LR = 5, 0.3
PARTS = ("prompt", "tail", "classifier")
ONE_STEP = {"keep_fraction": 1.0, "local_epochs": 0, "batch_size": 100, "lr": LR, "num_prompt_tokens": 2}


@pytest.fixture
def toy(make_client):
    """Five nodes with 4 to 12 pictures, and a model that can be cut."""
    backend = PartitionableToy()
    clients = [make_client(f"node-{i}", train, i) for i, train in enumerate((4, 7, 12, 5, 9))]
    return Toy(
        backend, NoPrompt(backend.info.input_size), NoReadout(backend.info, backend.info.classes), clients=clients
    )


def nodes(toy, **options):
    return simulate_nodes(partial(GossipSFPrompt, **ONE_STEP | options), toy)


def own(one):
    """The parameters of all nodes: part -> (nodes, d)."""
    memories = one.memories.values()
    return {part: np.stack([m.arrays[f"tuned/current/parameters/{part}"] for m in memories]) for part in PARTS}


def own_start(one):
    start = one.algorithm.init().parameters
    assert set(start) == set(PARTS)
    return start


def in_letters(one):
    """The parts that a letter is about."""
    return set(one.algorithm.template("letter", one.algorithm.broadcast(one.algorithm.init())).payload)


class Twin:
    """One node's gradient and steps, through head, body and tail."""

    def __init__(self, toy, client):
        self.model = toy.backend.partition_model(num_prompt_tokens=2, num_classes=3)
        self.start = self.model.init(5)
        batch = client.train.batch(slice(None))
        self.inputs, self.labels = batch.inputs, batch.labels

    def gradient(self, x):
        p, trained = {**self.start, **x}, frozenset(PARTS)
        head = self.model.head(p, self.inputs, trained)
        body = self.model.body({"body": p["body"]}, head.values, trained)
        tail = self.model.tail(p, body.values, self.labels, trained)
        return {**tail.gradients, **head.vjp(body.vjp(tail.values).values).gradients}

    def loss(self, x):
        p = {**self.start, **x}
        body = self.model.body({"body": p["body"]}, self.model.head(p, self.inputs, frozenset()).values, frozenset())
        return -self.model.predict(p, body.values)[np.arange(len(self.labels)), self.labels].mean(dtype=np.float64)

    def steps(self, x, count, rho, momentum):
        velocity = dict.fromkeys(PARTS, 0)
        for _ in range(count):
            g = self.gradient(x)
            if rho:
                length = np.sqrt(sum((values**2).sum() for values in g.values()))
                g = self.gradient({part: x[part] + np.float32(rho / length) * g[part] for part in PARTS})
            clipped = {part: g[part] / max(1, np.linalg.norm(g[part])) for part in PARTS}
            velocity = {part: momentum * velocity[part] + clipped[part] for part in PARTS}
            x = {part: (x[part] - LR * velocity[part]).astype(np.float32) for part in PARTS}
        return x


def twins(toy, rounds, topology, gossip_steps=1, count=1, rho=0.0, momentum=0.0):
    """The parameters of all nodes after each round."""
    every = [Twin(toy, client) for client in toy.clients]
    x = {part: np.stack([every[0].start[part]] * NODES) for part in PARTS}
    for round_ in range(rounds):
        taken = [twin.steps({p: x[p][i] for p in PARTS}, count, rho, momentum) for i, twin in enumerate(every)]
        x = {part: np.stack([one[part] for one in taken]) for part in PARTS}
        for step in range(gossip_steps):
            w = make(topology, NODES, 5).mixing(round_ * gossip_steps + step).toarray()
            x = {part: w @ values for part, values in x.items()}
        yield x


def test_on_a_complete_graph_all_nodes_have_the_mean_of_their_local_results(toy):
    one = nodes(toy, topology="complete")
    start = own_start(one)
    state, _ = one.round(one.algorithm.init())
    found, local = own(one), [Twin(toy, client).steps(start, 1, 0.0, 0.0) for client in toy.clients]
    for part in PARTS:
        mean = np.mean([x[part] for x in local], axis=0, dtype=np.float64)
        assert np.abs(mean - start[part]).max() > 1e-4
        assert np.allclose(found[part], mean, atol=1e-6)
    revealed = one.algorithm.result(state, one.open_pool(state).send)
    assert all(np.allclose(revealed[part], found[part][0], atol=1e-6) for part in PARTS)


@pytest.mark.parametrize("topology", ["ring", "matching"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"gossip_steps": 3}, {"gossip_steps": 3}),
        ({"rho": 0.1, "epochs": 2}, {"rho": 0.1, "count": 2}),
        ({"momentum": 0.8, "epochs": 3}, {"momentum": 0.8, "count": 3}),
    ],
    ids=["dfedavg", "Q = 3", "dfedsam", "dfedavgm"],
)
def test_nodes_end_where_the_twin_does(toy, topology, ours, theirs):
    one = nodes(toy, topology=topology, **ours)
    state = one.algorithm.init()
    for expected in twins(toy, 3, topology, **theirs):
        state, _ = one.round(state)
        assert all(np.allclose(values, expected[part], atol=1e-5) for part, values in own(one).items())


def test_nothing_leaves_a_node_but_what_is_trained(toy):
    one = simulate_nodes(partial(GossipSFPrompt, topology="ring", **ONE_STEP), toy, rebuild=True)
    one.states(2)
    numbers = sum(4 * values[0].size for values in own(one).values())
    letters = 2 * NODES
    assert numbers * letters < one.pool.bytes_between < (numbers + 400) * letters
    assert in_letters(one) == set(PARTS)
    update = one.open_pool(one.algorithm.init()).send("train", one.algorithm.broadcast(one.algorithm.init()))[0]
    assert (update.payload, update.traffic) == ({}, Traffic())


def test_letters_may_be_compressed(toy):
    backend = PartitionableToy(width=100)  # whose tail has ten thousand numbers
    wide = toy.having(backend=backend)
    sent = {}
    for compression in ("none", "int8", "top-k:0.1"):
        one = nodes(wide, topology="ring", compression=compression)
        one.states(2)
        sent[compression] = one.pool.bytes_between
    assert sent["int8"] < 0.3 * sent["none"]
    assert sent["top-k:0.1"] < 0.25 * sent["none"]


def test_only_the_classifier_travels_where_only_that_is_trained(toy):
    one = nodes(toy, trainable="linear", topology="ring")
    before = own_start(one)
    one.states(2)
    after = own(one)
    assert np.array_equal(after["tail"], np.stack([before["tail"]] * NODES))
    assert np.ptp(after["classifier"], 0).any()
    assert set(one.algorithm.template("letter", one.algorithm.broadcast(one.algorithm.init())).payload) == {
        "classifier"
    }


def test_steps_that_are_too_long_are_an_error_that_says_what_to_do(toy):
    with pytest.raises(ConfigError, match=r"algorithm\.lr"):
        nodes(toy, lr=1e39).states(5)


class TestSharpness:
    """How much a node's loss rises near what it trains."""

    def said(self, one, state):
        replies = one.open_pool(state).send(SHARPNESS, one.algorithm.broadcast(state))
        assert not one.pool.unusable
        return np.array([reply.payload[SHARPNESS] for reply in replies]), one.pool.usage

    def test_it_is_that_of_all_parts_together(self, toy):
        one = nodes(toy, measure_sharpness=True)
        (*_, state) = one.states(2)
        found, _ = self.said(one, state)
        for i, client in enumerate(toy.clients):
            twin, x = Twin(toy, client), {part: values[i] for part, values in own(one).items()}
            g = twin.gradient(x)
            step = {part: 0.05 * g[part] / np.sqrt(sum((v**2).sum() for v in g.values())) for part in PARTS}
            rise = twin.loss({part: x[part] + step[part] for part in PARTS}) - twin.loss(x)
            assert found[i, 1] == pytest.approx(rise, rel=1e-2)
            assert abs(found[i, 0]) < found[i, 1]  # the slope cancels

    def test_what_it_asks_is_known_before(self, toy):
        small = toy.having(backend=PartitionableToy(max_batch=5))
        for one in (nodes(each, measure_sharpness=True) for each in (toy, small)):
            found, usage = self.said(one, one.algorithm.init())  # of the start, too
            assert np.isfinite(found).all()
            assert usage == sum((one.algorithm.sharpness_usage(size) for size in one.sizes), Usage())
            assert usage.queries == 12 * sum(len(client.train) for client in toy.clients)

    def test_unless_it_is_wanted_nobody_is_asked(self, toy):
        algorithm = nodes(toy).algorithm
        assert SHARPNESS not in algorithm.handlers
        assert algorithm.sharpness_usage(ClientSizes("a", 5, 5, 5)) == Usage()


@pytest.mark.parametrize("option", [{"rho": 0.1}, {"momentum": 0.5}, {"measure_sharpness": True}])
def test_a_body_that_is_trained_takes_plain_steps(toy, option):
    with pytest.raises(ConfigError, match=r"leave out algorithm\.momentum, rho and measure_sharpness"):
        nodes(toy, trainable="full", **option)

"""Sharpness of readouts and prompts, beside losses that are written out."""

import numpy as np
import pytest
from scipy.special import log_softmax

from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.algorithms.sharpness import (
    DIRECTIONS,
    POINTS,
    PROMPT_RHO,
    RHO,
    SHARPNESS,
    prompt_sharpness,
    sharpness,
)
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.testing import Toy
from fedbbpt.testing.simulation import simulate
from fedbbpt.testing.toy import ToyBackend, toy_client, toy_data

BACKEND = ToyBackend()
READOUT = LinearReadout(BACKEND.info, BACKEND.info.classes)


def answers(seed=0, count=9):
    data = toy_data(count, seed)
    scores = BACKEND.query(data.batch(slice(None)).inputs).scores
    return scores, data.labels, READOUT.fit_data(scores[:, None], data.labels)


def loss(w, scores, labels):
    """Cross-entropy of log_softmax(s + A s / √C + b), s the centred scores, with the decay."""
    s = scores.astype(np.float64) - scores.mean(1, keepdims=True, dtype=np.float64)
    log_p = log_softmax(s + s @ w[:9].reshape(3, 3).T / np.sqrt(3) + w[9:], 1)
    return -log_p[np.arange(len(labels)), labels].mean() + 0.002 * w @ w


def test_it_is_how_much_the_loss_rises():
    scores, labels, data = answers()
    w = np.random.default_rng(1).normal(size=12)
    at_random, uphill = sharpness(READOUT, w, data, np.random.default_rng(2))
    ways = np.random.default_rng(2).standard_normal((DIRECTIONS // 2, 12))
    ways *= RHO / np.linalg.norm(ways, axis=1, keepdims=True)
    ways = np.concatenate([ways, -ways])
    here = loss(w, scores, labels)
    assert at_random == pytest.approx(np.mean([loss(w + way, scores, labels) - here for way in ways]), abs=1e-9)
    steps = 1e-6 * np.eye(12)
    gradient = np.array([loss(w + e, scores, labels) - loss(w - e, scores, labels) for e in steps])
    step = RHO * gradient / np.linalg.norm(gradient)
    assert uphill == pytest.approx(loss(w + step, scores, labels) - here, rel=1e-4)


def test_no_way_at_that_distance_rises_much_more_than_uphill():
    scores, labels, data = answers()
    w = np.random.default_rng(3).normal(size=12)
    _, uphill = sharpness(READOUT, w, data, np.random.default_rng(0))
    rng, here = np.random.default_rng(4), loss(w, scores, labels)
    ways = rng.standard_normal((500, 12))
    highest = max(loss(w + RHO * way / np.linalg.norm(way), scores, labels) - here for way in ways)
    assert uphill > 0.95 * highest


class TestOfPrompts:
    """Sharpness from the losses of twelve candidates."""

    @pytest.fixture
    def asked(self):
        return []

    @pytest.fixture
    def valley(self, asked):
        """θ ↦ θᵀ H θ / 2, steeper in some directions."""
        steep = np.array([1.0, 4.0, 0.5, 9.0])

        def losses(candidates):
            asked.append(len(candidates))
            return (candidates**2 @ steep) / 2

        return losses

    def test_at_random_it_is_the_curvature(self, valley, asked):
        theta, rho = np.array([1.0, -2.0, 0.5, 1.5]), PROMPT_RHO * 2
        at_random, _ = prompt_sharpness(valley, theta, np.random.default_rng(2))
        ways = np.random.default_rng(2).standard_normal((DIRECTIONS // 2, 4))
        ways *= rho / np.linalg.norm(ways, axis=1, keepdims=True)
        assert at_random == pytest.approx(valley(ways).mean())  # slopes cancel
        assert sum(asked[:2]) == POINTS

    def test_uphill_is_along_an_estimate_of_the_gradient(self, valley):
        theta, found = np.array([1.0, -2.0, 0.5, 1.5]), []
        for seed in range(20):
            found.append(prompt_sharpness(valley, theta, np.random.default_rng(seed)))
        at_random, uphill = np.mean(found, 0)
        gradient = np.array([1.0, 4.0, 0.5, 9.0]) * theta
        step = 0.2 * gradient / np.linalg.norm(gradient)
        exact = valley((theta + step)[None])[0] - valley(theta[None])[0]
        assert 0.7 * exact < uphill <= exact
        assert at_random < uphill / 10


def test_without_answers_it_is_unknown():
    data = READOUT.fit_data(np.zeros((0, 1, 3), np.float32), np.zeros(0, np.int64))
    assert np.isnan(sharpness(READOUT, np.zeros(12), data, np.random.default_rng(0))).all()


@pytest.fixture
def nodes():
    clients = [toy_client(f"node-{i}", 5 + i, i) for i in range(3)]
    toy = Toy(BACKEND, prompt=NoPrompt(BACKEND.info.input_size), clients=clients)
    return simulate(lambda context: Gossip(context, topology="ring"), toy)


def asked(one, state):
    replies = one.open_pool(state).send(SHARPNESS, one.algorithm.broadcast(state))
    assert not one.pool.unusable
    return np.array([reply.payload[SHARPNESS] for reply in replies])


def select(one, state):
    one.open_pool(state).send("select", one.algorithm.broadcast(state))


def test_nodes_say_that_of_the_round_that_they_marked(nodes):
    (*_, state) = nodes.states(2)
    assert np.isnan(asked(nodes, state)).all()
    select(nodes, state)
    found = asked(nodes, state)
    for i, memory in enumerate(nodes.memories.values()):
        memory.replace(memory.durable)  # as after a restart
        client = nodes.engine._hosts.here().clients[f"node-{i}"].train
        scores = BACKEND.query(client.batch(slice(None)).inputs).scores
        w = memory.arrays["tuned/selected/parameters/readout"].astype(np.float64)
        _, gradient = READOUT.loss(w, READOUT.fit_data(scores[:, None], client.labels))
        step = RHO * gradient / np.linalg.norm(gradient)
        rise = loss(w + step, scores, client.labels) - loss(w, scores, client.labels)
        assert found[i, 1] == pytest.approx(rise, rel=1e-3)
    assert np.array_equal(asked(nodes, state), found)
    (*_, later) = nodes.states(1, state)
    assert np.isnan(asked(nodes, later)).all()
    assert np.array_equal(asked(nodes, state), found)


def test_a_node_that_was_away_does_not_know(nodes):
    (*_, state) = nodes.states(2)
    memory = nodes.memories["node-1"]
    memory.replace(memory.durable)
    select(nodes, state)
    assert np.isnan(asked(nodes, state)).any(1).tolist() == [False, True, False]


def test_without_a_linear_readout_nobody_is_asked():
    toy = Toy(BACKEND, readout=Identity(BACKEND.info, BACKEND.info.classes))
    assert SHARPNESS not in Gossip(toy.context()).handlers

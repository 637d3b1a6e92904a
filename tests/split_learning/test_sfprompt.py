"""SFPrompt: what it trains, the phases of a round, and clients that hold the whole model."""

from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.algorithms import ClientContext, ClientSizes
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.split_learning.pruning import el2n
from fedbbpt.types import Traffic, Usage

MODES = pytest.mark.parametrize("trainable", ["prompt", "linear", "full"])


def train(algorithm, client):
    """A client's reply in the first round."""
    message = algorithm.broadcast(algorithm.init())
    return algorithm.handlers["train"](message, ClientContext(client, None))


def changed(before, after):
    return {part for part in before.parameters if not np.array_equal(before.parameters[part], after.parameters[part])}


@pytest.mark.parametrize(
    ("trainable", "parts"),
    [
        ("prompt", {"prompt", "tail", "classifier"}),
        ("linear", {"classifier"}),
        ("full", {"prompt", "head", "body", "tail", "classifier"}),
    ],
)
def test_only_what_is_trained_changes_and_travels(simulate, clients, updates, trainable, parts):
    simulation = simulate(clients, trainable=trainable, rebuild=True)
    start, after = simulation.states(1)
    assert changed(start, after) == parts
    assert set(after.parameters) == {"prompt", "tail", "classifier"} | parts
    assert set(simulation.algorithm.broadcast(after).parameters) == parts - {"body"}
    assert all(set(update.payload) == parts - {"body"} for update in updates(simulation))


@MODES
def test_loss_falls_on_what_can_be_told_apart(simulate, clients, rounds, trainable):
    simulation = simulate(clients, trainable=trainable, lr=1.0, self_update_lr=0.1, keep_fraction=1.0, epochs=4)
    states, losses = rounds(simulation, 30)
    first, last = (simulation.evaluate(state, "validation") for state in (states[0], states[-1]))
    assert last.loss < 0.8 * first.loss
    assert losses[-1] < 0.7 * losses[0]
    assert last.accuracy > first.accuracy


def test_the_first_step_is_plain_gradient_descent(simulate, make_client, make_split):
    """One batch of all samples: p − η ∂L/∂p, by finite differences of the loss through head, body and tail."""
    client, rate = make_client(train=12), 0.1
    simulation = simulate([client], keep_fraction=1.0, local_epochs=0, lr=rate, trainable="full", batch_size=12)
    start = simulation.algorithm.init()
    after, report = simulation.round(start)
    split, batch = make_split(2, 3, 6, []), client.train.batch(slice(None))

    def loss_at(parameters):
        values = split.body({"body": parameters["body"]}, split.head(parameters, batch.inputs, ()).values, ()).values
        return split.tail(parameters, values, batch.labels, frozenset()).losses.mean(dtype=np.float64)

    assert report.loss == pytest.approx(loss_at(start.parameters), rel=1e-5)
    for part, values in start.parameters.items():
        step = np.random.default_rng(0).normal(size=len(values)).astype(np.float32)
        up, down = (loss_at({**start.parameters, part: values + sign * step}) for sign in (1e-2, -1e-2))
        slope = (after.parameters[part] - values) @ step / -rate
        assert slope == pytest.approx((up - down) / 2e-2, rel=2e-2, abs=2e-4)


def test_self_update_takes_its_own_rate_and_no_server(method, make_client, packed):
    client, counts = make_client(train=12), []
    for epochs in (0, 1, 5):
        algorithm = method(local_epochs=epochs, self_update_lr=0.5, keep_fraction=0.5, batch_size=12)
        packed.clear()
        update = train(algorithm, client)
        counts.append((len(packed), update.usage, update.traffic))
    assert counts == [(4, Usage(6, 1), counts[0][2])] * 3


def test_self_update_is_what_pruning_and_split_training_start_from(method, make_client):
    client = make_client(train=12)
    unmoved = method(local_epochs=1, self_update_lr=1e-12, keep_fraction=1.0)
    moved = method(local_epochs=1, self_update_lr=0.5, keep_fraction=1.0)
    update, other = (train(algorithm, client) for algorithm in (unmoved, moved))
    assert not np.array_equal(update.payload["prompt"], other.payload["prompt"])
    assert update.loss != other.loss


@pytest.mark.parametrize(("keep", "count"), [(0.5, 6), (0.1, 2), (0.01, 1), (0.25, 3), (1.0, 12)])
def test_pruning_keeps_the_largest_errors(method, make_client, keep, count, toy, make_split):
    backend, client = toy(max_batch=5), make_client(train=12)
    algorithm = method(backend, keep_fraction=keep, local_epochs=0)
    parameters, split = algorithm.init().parameters, make_split(2, 3, 6, [])
    parameters = {**split.init(5), **parameters}
    values = split.head(parameters, client.train.batch(slice(None)).inputs, ()).values
    errors = el2n(np.exp(split.predict(parameters, values)), client.train.labels)
    best = set(np.argsort(-errors)[:count].tolist())
    seen = []
    split_head = algorithm._split.head

    def head(parameters, inputs, trained):
        if trained:
            seen.extend(image.tobytes() for image in inputs)
        return split_head(parameters, inputs, trained)

    algorithm._split.head = head
    train(algorithm, client)
    inputs = [image.tobytes() for image in client.train.batch(slice(None)).inputs]
    assert sorted(inputs.index(one) for one in seen) == sorted(best)


def test_a_share_is_not_rounded_up_by_the_computers_fractions(method):
    sizes = ClientSizes("client-000", 30, 5, 9)
    assert method(keep_fraction=0.1).expected_usage(sizes, 1) == Usage(3, 1)
    assert method(keep_fraction=1e-9).expected_usage(sizes, 1) == Usage(1, 1)


def test_aggregation_weighs_by_samples(simulate, clients, updates):
    simulation = simulate(clients, rebuild=True)
    start, after = simulation.states(1)
    replies = updates(simulation)
    assert [update.weight for update in replies] == [4, 7, 12]
    for part in ("prompt", "tail", "classifier"):
        mean = np.average([u.payload[part].astype(np.float64) for u in replies], axis=0, weights=[4, 7, 12])
        assert after.parameters[part] == pytest.approx(start.parameters[part] + mean, abs=1e-6)


def test_the_body_is_the_mean_of_its_copies(simulate, clients):
    alone = [simulate([client], trainable="full").states(1)[-1] for client in clients]
    together = simulate(clients, trainable="full").states(1)[-1]
    for part in ("body", "head"):
        mean = np.average([state.parameters[part] for state in alone], axis=0, weights=[4, 7, 12])
        assert together.parameters[part] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("trainable", ["linear", "full"])
def test_clients_that_hold_the_whole_model_take_the_same_steps(simulate, clients, rounds, same, packed, trainable):
    options = {"trainable": trainable, "num_prompt_tokens": 0, "keep_fraction": 1.0, "local_epochs": 0, "batch_size": 3}
    split, losses = rounds(simulate(clients, **options), 3)
    assert packed
    packed.clear()
    whole, losses_whole = rounds(simulate(clients, topology="federated", **options), 3)
    assert losses == losses_whole
    assert not packed
    if trainable == "linear":
        assert same(whole[-1].parameters, split[-1].parameters)
    else:  # their changes of the body travel as such, which rounds once more
        for part, values in split[-1].parameters.items():
            np.testing.assert_allclose(whole[-1].parameters[part], values, rtol=1e-5, atol=1e-6)


def test_a_whole_model_travels_with_the_messages_alone(simulate, clients, updates):
    simulation = simulate(clients, trainable="full", topology="federated", rebuild=True)
    simulation.states(1)
    algorithm, replies = simulation.algorithm, updates(simulation)
    assert all(set(reply.payload) == {"prompt", "head", "body", "tail", "classifier"} for reply in replies)
    assert all(reply.traffic == Traffic() for reply in replies)
    assert algorithm.expected_usage(simulation.sizes[0], 1) == replies[0].usage
    assert set(algorithm.broadcast(algorithm.init()).parameters) == set(replies[0].payload)


@pytest.mark.parametrize("wrong", [{"trainable": "full"}, {"topology": "federated"}])
def test_a_server_elsewhere_trains_nothing(method, wrong):
    with pytest.raises(ConfigError, match="leave out trainable=full and topology=federated"):
        method(body_url="http://127.0.0.1:1", **wrong)


def test_confusion_is_over_the_tasks_classes(method, toy, clients):
    backend = toy(classes=("blue", "grey", "green", "red"))
    algorithm = method(backend, classes=("red", "green", "blue"))
    message = replace(algorithm.broadcast(algorithm.init()), subset="test")
    score = algorithm.handlers["evaluate"](message, ClientContext(clients[0], None))
    assert score.confusion.shape == (3, 3)
    assert score.confusion.sum(1).tolist() == np.bincount(clients[0].test.labels, minlength=3).tolist()
    assert np.isfinite(score.loss_sum)
    assert not score.unanswered


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_shorter_formats_learn_too(simulate, clients, rounds, dtype):
    _, losses = rounds(simulate(clients, activation_dtype=dtype, lr=1.0, keep_fraction=1.0), 30)
    assert losses[-1] < 0.9 * losses[0]


def test_a_model_that_cannot_be_cut_is_refused(method, fake_backend):
    with pytest.raises(ConfigError, match="needs a model of images that can be cut"):
        method(fake_backend)


@pytest.mark.parametrize("wrong", [{"prompt": Dct((8, 8), frequencies=2)}, {"readout": LinearReadout}])
def test_other_prompts_and_readouts_are_refused(method, wrong):
    with pytest.raises(ConfigError, match="--prompt none and --readout none"):
        method(**wrong)

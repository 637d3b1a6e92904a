from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.algorithms import ClientContext, ClientSizes
from fedbbpt.engines.serial import Serial
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.split_learning import transport
from fedbbpt.split_learning.activations import pack
from fedbbpt.split_learning.pruning import el2n
from fedbbpt.types import Score, Traffic, Update, Usage

SIZE, PLACES = (8, 8), 4  # the quarters of a picture
MODES = pytest.mark.parametrize("trainable", ["prompt", "linear", "full"])


@pytest.fixture
def packed(monkeypatch):
    """The lengths of all messages that are packed from now on."""
    lengths = []

    def recorded(values, dtype):
        message = pack(values, dtype)
        lengths.append(len(message))
        return message

    monkeypatch.setattr(transport, "pack", recorded)
    return lengths


def train(algorithm, client):
    """A client's reply in the first round."""
    message = algorithm.broadcast(algorithm.init())
    return algorithm.handlers["train"](message, ClientContext(client, None))


def evaluate(algorithm, client):
    """A client's score on its test data before the first round."""
    message = replace(algorithm.broadcast(algorithm.init()), subset="test")
    return algorithm.handlers["evaluate"](message, ClientContext(client, None))


def changed(before, after):
    return {part for part in before.parameters if not np.array_equal(before.parameters[part], after.parameters[part])}


def updates(simulation):
    """All that the clients sent, where only bytes travel."""
    return [Update.from_bytes(content) for _, content in simulation.engine.replies]


# what is trained


@pytest.mark.parametrize(
    ("trainable", "parts"),
    [
        ("prompt", {"prompt", "tail", "classifier"}),
        ("linear", {"classifier"}),
        ("full", {"prompt", "head", "body", "tail", "classifier"}),
    ],
)
def test_only_what_is_trained_changes_and_travels(simulate, clients, trainable, parts):
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


# the three phases


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
    still = method(local_epochs=1, self_update_lr=1e-12, keep_fraction=1.0)
    moved = method(local_epochs=1, self_update_lr=0.5, keep_fraction=1.0)
    update, other = (train(algorithm, client) for algorithm in (still, moved))
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


def test_aggregation_weighs_by_samples(simulate, clients):
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


# everything at the client


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


def test_a_whole_model_travels_with_the_messages_alone(simulate, clients):
    simulation = simulate(clients, trainable="full", topology="federated", rebuild=True)
    simulation.states(1)
    algorithm, replies = simulation.algorithm, updates(simulation)
    assert all(set(reply.payload) == {"prompt", "head", "body", "tail", "classifier"} for reply in replies)
    assert all(reply.traffic == Traffic() for reply in replies)
    assert algorithm.expected_usage(simulation.sizes[0], 1) == replies[0].usage
    assert set(algorithm.broadcast(algorithm.init()).parameters) == set(replies[0].payload)


# what the server sees


def test_noise_is_drawn_anew_and_can_be_repeated(simulate, clients, same):
    options = {"clip_norm": 1.0, "noise_multiplier": 0.3}
    one, again, without, clipped = (
        simulate(clients, **some).states(2)[-1].parameters for some in (options, options, {}, {"clip_norm": 1.0})
    )
    assert same(one, again)
    assert not same(one, clipped)
    assert not same(clipped, without)


def test_noise_hides_what_is_scored_too(method, clients):
    quiet, loud = method(clip_norm=1.0), method(clip_norm=1.0, noise_multiplier=2.0)
    scores = [evaluate(algorithm, clients[0]).loss_sum for algorithm in (quiet, loud, loud)]
    assert scores[0] != scores[1] == scores[2]


def test_noise_without_a_norm_is_refused(method):
    with pytest.raises(ConfigError, match=r"units of algorithm\.clip_norm"):
        method(noise_multiplier=0.1)


@pytest.mark.parametrize("wrong", [{"trainable": "full"}, {"topology": "federated"}])
def test_a_server_elsewhere_trains_nothing(method, wrong):
    with pytest.raises(ConfigError, match="leave out trainable=full and topology=federated"):
        method(body_url="http://127.0.0.1:1", **wrong)


# what it takes


@pytest.mark.parametrize("limit", [3, 1000])
@pytest.mark.parametrize("batch", [4, 50])
@pytest.mark.parametrize("epochs", [1, 3])
@MODES
def test_the_expected_usage_is_what_the_rounds_then_ask(simulate, toy, clients, limit, batch, epochs, trainable):
    backend = toy(max_batch=limit)
    simulation = simulate(clients, backend, batch_size=batch, epochs=epochs, trainable=trainable, local_epochs=2)
    expected = sum(
        (simulation.algorithm.expected_usage(client, round_) for round_ in (1, 2) for client in simulation.sizes),
        Usage(),
    )
    assert not backend.forwarded
    state, asked = simulation.algorithm.init(), Usage()
    for _ in range(2):
        state, _ = simulation.round(state)
        asked += simulation.pool.usage
    assert expected == asked == Usage(sum(backend.forwarded), len(backend.forwarded))
    assert not backend.calls  # nothing is queried


@pytest.mark.parametrize(("trainable", "crossings"), [("prompt", 4), ("linear", 2), ("full", 4)])
def test_bytes_are_those_of_the_messages(simulate, toy, clients, packed, trainable, crossings):
    backend = toy(width=256)
    simulation = simulate(clients, backend, trainable=trainable, keep_fraction=0.5, batch_size=128, rebuild=True)
    start, _ = simulation.states(1)
    assert len(packed) == crossings * len(clients)
    traffic, pool, replies = sum(packed), simulation.pool, updates(simulation)
    assert sum(sum(update.traffic) for update in replies) == traffic
    assert all(update.traffic.up == update.traffic.down for update in replies)
    down = len(simulation.algorithm.broadcast(start).to_bytes()) * 3
    up = sum(len(content) for _, content in simulation.engine.replies)
    assert (pool.bytes_down, pool.bytes_up) == (down + traffic // 2, up + traffic // 2)
    kept, q = 2 + 4 + 6, 4 * (2 + PLACES) * 256  # bytes of a sample's activations
    assert traffic == pytest.approx(crossings * q * kept, rel=0.01)


def test_evaluation_crosses_once_in_each_direction(simulate, toy, clients, packed):
    simulation = simulate(clients, toy(max_batch=4))
    algorithm = simulation.algorithm
    start = algorithm.init()
    result = simulation.evaluate(start, "test")
    assert len(packed) == 2 * 3 * 3  # 9 test samples a client, 4 at a time
    assert result.usage == Usage(27, 9)
    told = len(replace(algorithm.broadcast(start), subset="test").to_bytes())
    assert result.pool.bytes_down == 3 * told + sum(packed) // 2
    assert result.pool.bytes_up == sum(len(score.to_bytes()) for score in result.scores) + sum(packed) // 2


def test_confusion_is_over_the_tasks_classes(method, toy, clients):
    backend = toy(classes=("blue", "grey", "green", "red"))
    score = evaluate(method(backend, classes=("red", "green", "blue")), clients[0])
    assert score.confusion.shape == (3, 3)
    assert score.confusion.sum(1).tolist() == np.bincount(clients[0].test.labels, minlength=3).tolist()
    assert np.isfinite(score.loss_sum)
    assert not score.unanswered


def test_traffic_travels_with_a_reply_and_adds_nothing_to_others():
    update = Update("client-000", {}, 3, 0.5, Usage(3, 1))
    told = replace(update, traffic=Traffic(10, 20))
    assert Update.from_bytes(told.to_bytes()).traffic == Traffic(10, 20)
    assert b"traffic" in told.to_bytes()
    assert b"traffic" not in update.to_bytes()
    score = Score("client-000", np.eye(2, dtype=np.int64), 0.5, 0, Usage(), Traffic(1, 2))
    assert Score.from_bytes(score.to_bytes()).traffic == Traffic(1, 2)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_shorter_formats_learn_too(simulate, clients, rounds, dtype):
    _, losses = rounds(simulate(clients, activation_dtype=dtype, lr=1.0, keep_fraction=1.0), 30)
    assert losses[-1] < 0.9 * losses[0]


# reproducible


@MODES
def test_same_seed_same_bits_and_a_resumed_run_too(simulate, clients, rounds, same, trainable):
    options = {"trainable": trainable, "batch_size": 3, "participation": 0.7}
    states, losses = rounds(simulate(clients, **options), 4)
    again, losses_again = rounds(simulate(clients, **options), 4)
    resumed, _ = rounds(simulate(clients, **options), 2, states[2])
    assert losses == losses_again
    assert all(same(a.parameters, b.parameters) for a, b in zip(states, again, strict=True))
    assert same(resumed[-1].parameters, states[-1].parameters)
    assert all(values.dtype == np.float32 for values in states[-1].parameters.values())
    other, _ = rounds(simulate(clients, seed=6, **options), 1)
    assert not same(other[-1].parameters, states[1].parameters)


@MODES
def test_rounds_in_which_only_bytes_travel_give_the_same_bits(simulate, clients, rounds, same, trainable):
    states, losses = rounds(simulate(clients, trainable=trainable), 3)
    rebuilt, rebuilt_losses = rounds(simulate(clients, trainable=trainable, rebuild=True), 3)
    assert same(states[-1].parameters, rebuilt[-1].parameters)
    assert losses == rebuilt_losses


def test_rounds_draw_anew(simulate, clients, same):
    simulation = simulate(clients, batch_size=3)
    start = simulation.algorithm.init()
    now, later = (simulation.round(replace(start, round=round_))[0] for round_ in (0, 1))
    assert not same(now.parameters, later.parameters)
    assert same(start.parameters, simulation.algorithm.init().parameters)


def test_other_data_than_a_clients_training_samples_do_not_matter(simulate, clients, same):
    swapped = [replace(client, validation=client.test, test=client.validation) for client in clients]
    one, other = (simulate(them).states(2)[-1] for them in (clients, swapped))
    assert same(one.parameters, other.parameters)


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 20), ({"participation": 0.29}, 6), ({"participation": 0.001}, 1), ({"clients_per_round": 3}, 3)],
)
def test_the_sample_is_in_the_clients_order(method, options, count):
    algorithm = method(**options)
    everybody = [ClientSizes(f"client-{i:03d}", 1, 1, 1) for i in range(20)]
    chosen = [client.id for client in algorithm.sample(algorithm.init(), everybody)]
    assert chosen == sorted(set(chosen))
    assert len(chosen) == count


# what does not go


def test_a_model_that_cannot_be_cut_is_refused(method, fake_backend):
    with pytest.raises(ConfigError, match="needs a model of images that can be cut"):
        method(fake_backend)


@pytest.mark.parametrize("wrong", [{"prompt": Dct(SIZE, frequencies=2)}, {"readout": LinearReadout}])
def test_other_prompts_and_readouts_are_refused(method, wrong):
    with pytest.raises(ConfigError, match="--prompt none and --readout none"):
        method(**wrong)


def test_divergence_is_an_error_that_says_what_to_do(simulate, clients):
    with pytest.raises(ConfigError, match=r"algorithm\.lr"):
        simulate(clients, lr=1e39).states(5)


def poisoning(*victims):
    """An engine on which all that these clients have changed becomes NaN."""

    class Poisoning(Serial):
        def send(self, call, clients, on_dropped=None):
            replies = super().send(call, clients, on_dropped)
            return (_nan(reply) if client in victims else reply for client, reply in zip(clients, replies, strict=True))

    return Poisoning


def _nan(update):
    return replace(update, payload={part: values * np.float32("nan") for part, values in update.payload.items()})


@pytest.mark.parametrize("trainable", ["prompt", "full"])
def test_a_client_that_sends_nan_is_as_if_it_had_not_been_there(simulate, clients, same, trainable):
    poisoned = simulate(clients, trainable=trainable, engine=poisoning(clients[0].id))
    state = poisoned.states(1)[-1]
    without = simulate(clients[1:], trainable=trainable).states(1)[-1]
    assert poisoned.pool.unusable.keys() == {clients[0].id}
    assert same(state.parameters, without.parameters)


def test_if_nobody_is_left_with_numbers_the_run_has_diverged(simulate, clients):
    with pytest.raises(ConfigError, match="diverged"):
        simulate(clients, engine=poisoning(*(client.id for client in clients))).states(1)


def test_honest_updates_and_scores_have_the_form_of_the_template(simulate, clients):
    simulation = simulate(clients)
    state = simulation.states(1)[-1]
    assert not simulation.pool.unusable
    assert not simulation.evaluate(state, "test").pool.unusable

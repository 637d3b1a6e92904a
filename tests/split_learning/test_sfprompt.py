from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.engines.serial import Serial
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run.client_pool import CountedExchange, SoundExchange
from fedbbpt.run.evaluate import evaluate
from fedbbpt.split_learning import transport
from fedbbpt.split_learning.activations import pack
from fedbbpt.split_learning.pruning import el2n
from fedbbpt.types import Message, Score, Traffic, Update, Usage

SIZE, PLACES = (8, 8), 4  # the quarters of a picture


@pytest.fixture
def messages(monkeypatch):
    """The lengths of all messages that are written from now on."""
    lengths = []

    def recorded(values, wire):
        message = pack(values, wire)
        lengths.append(len(message))
        return message

    monkeypatch.setattr(transport, "pack", recorded)
    return lengths


class Wire:
    """An exchange on which only bytes travel."""

    def __init__(self, clients):
        self.clients, self.messages, self.replies = clients, [], []

    def __call__(self, work, message):
        self.messages.append(message.to_bytes())
        replies = [work(Message.from_bytes(message.to_bytes()), client) for client in self.clients]
        self.replies += replies
        return [type(reply).from_bytes(reply.to_bytes()) for reply in replies]


MODES = pytest.mark.parametrize("trainable", ["prompt", "linear", "full"])


def changed(before, after):
    return {part for part in before.parameters if not np.array_equal(before.parameters[part], after.parameters[part])}


# what is trained


@pytest.mark.parametrize(
    ("trainable", "parts"),
    [
        ("prompt", {"prompt", "tail", "classifier"}),
        ("linear", {"classifier"}),
        ("full", {"prompt", "head", "body", "tail", "classifier"}),
    ],
)
def test_only_what_is_trained_changes_and_travels(method, clients, trainable, parts):
    algorithm, wire = method(trainable=trainable), Wire(clients)
    start = algorithm.init()
    after, _ = algorithm.round(start, wire)
    assert changed(start, after) == parts
    assert set(after.parameters) == {"prompt", "tail", "classifier"} | parts
    assert set(algorithm.broadcast(after).parameters) == parts - {"body"}
    assert all(set(update.payload) == parts - {"body"} for update in wire.replies)


@MODES
def test_loss_falls_on_what_can_be_told_apart(method, clients, rounds, trainable):
    algorithm = method(trainable=trainable, lr=1.0, self_update_lr=0.1, keep_fraction=1.0, epochs=4)
    states, losses = rounds(algorithm, clients, 30)
    first, last = (evaluate(algorithm, state, clients, "validation", Serial()) for state in (states[0], states[-1]))
    assert last.loss < 0.8 * first.loss
    assert losses[-1] < 0.7 * losses[0]
    assert last.accuracy > first.accuracy


def test_the_first_step_is_plain_gradient_descent(method, make_client, make_split):
    """One batch of all samples: p − η ∂L/∂p, by finite differences of the loss through head, body and tail."""
    client, rate = make_client(train=12), 0.1
    algorithm = method(keep_fraction=1.0, local_epochs=0, lr=rate, trainable="full", batch_size=12)
    start = algorithm.init()
    after, loss = algorithm.round(start, CountedExchange(Serial(), [client]))
    split, batch = make_split(2, 3, 6, []), client.train.batch(slice(None))

    def loss_at(parameters):
        values = split.body({"body": parameters["body"]}, split.head(parameters, batch.inputs, ()).values, ()).values
        return split.tail(parameters, values, batch.labels, frozenset()).losses.mean(dtype=np.float64)

    assert loss == pytest.approx(loss_at(start.parameters), rel=1e-5)
    for part, values in start.parameters.items():
        step = np.random.default_rng(0).normal(size=len(values)).astype(np.float32)
        up, down = (loss_at({**start.parameters, part: values + sign * step}) for sign in (1e-2, -1e-2))
        slope = (after.parameters[part] - values) @ step / -rate
        assert slope == pytest.approx((up - down) / 2e-2, rel=2e-2, abs=2e-4)


# the three phases


def test_self_update_takes_its_own_rate_and_no_server(method, make_client, messages):
    client, counts = make_client(train=12), []
    for epochs in (0, 1, 5):
        algorithm = method(local_epochs=epochs, self_update_lr=0.5, keep_fraction=0.5, batch_size=12)
        message = algorithm.broadcast(algorithm.init())
        messages.clear()
        update = algorithm.local(message, client)
        counts.append((len(messages), update.usage, update.traffic))
    assert counts == [(4, Usage(6, 1), counts[0][2])] * 3


def test_self_update_is_what_pruning_and_split_training_start_from(method, make_client):
    client = make_client(train=12)
    still = method(local_epochs=1, self_update_lr=1e-12, keep_fraction=1.0)
    moved = method(local_epochs=1, self_update_lr=0.5, keep_fraction=1.0)
    update, other = (a.local(a.broadcast(a.init()), client) for a in (still, moved))
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
    algorithm.local(algorithm.broadcast(algorithm.init()), client)
    inputs = [image.tobytes() for image in client.train.batch(slice(None)).inputs]
    assert sorted(inputs.index(one) for one in seen) == sorted(best)


def test_a_share_is_not_rounded_up_by_the_computers_fractions(method, make_client):
    assert method(keep_fraction=0.1).plan(make_client(train=30), 1) == Usage(3, 1)
    assert method(keep_fraction=1e-9).plan(make_client(train=30), 1) == Usage(1, 1)


def test_aggregation_weighs_by_samples(method, clients):
    algorithm, wire = method(), Wire(clients)
    start = algorithm.init()
    after, _ = algorithm.round(start, wire)
    assert [update.weight for update in wire.replies] == [4, 7, 12]
    for part in ("prompt", "tail", "classifier"):
        mean = np.average([u.payload[part].astype(np.float64) for u in wire.replies], axis=0, weights=[4, 7, 12])
        assert after.parameters[part] == pytest.approx(start.parameters[part] + mean, abs=1e-6)


def test_the_body_is_the_mean_of_its_copies(method, clients):
    start = method(trainable="full").init()
    alone = [method(trainable="full").round(start, CountedExchange(Serial(), [client]))[0] for client in clients]
    together, _ = method(trainable="full").round(start, CountedExchange(Serial(), clients))
    for part in ("body", "head"):
        mean = np.average([state.parameters[part] for state in alone], axis=0, weights=[4, 7, 12])
        assert together.parameters[part] == pytest.approx(mean, abs=1e-6)


# everything at the client


@pytest.mark.parametrize("trainable", ["linear", "full"])
def test_clients_that_hold_the_whole_model_take_the_same_steps(method, clients, rounds, same, messages, trainable):
    options = {"trainable": trainable, "num_prompt_tokens": 0, "keep_fraction": 1.0, "local_epochs": 0, "batch_size": 3}
    split, losses = rounds(method(**options), clients, 3)
    assert messages
    messages.clear()
    whole, losses_whole = rounds(method(topology="federated", **options), clients, 3)
    assert losses == losses_whole
    assert not messages
    if trainable == "linear":
        assert same(whole[-1].parameters, split[-1].parameters)
    else:  # their changes of the body travel as such, which rounds once more
        for part, values in split[-1].parameters.items():
            np.testing.assert_allclose(whole[-1].parameters[part], values, rtol=1e-5, atol=1e-6)


def test_a_whole_model_travels_with_the_messages_alone(method, clients):
    algorithm, wire = method(trainable="full", topology="federated"), Wire(clients)
    algorithm.round(algorithm.init(), wire)
    assert all(set(reply.payload) == {"prompt", "head", "body", "tail", "classifier"} for reply in wire.replies)
    assert all(reply.traffic == Traffic() for reply in wire.replies)
    assert algorithm.plan(clients[0], 1) == wire.replies[0].usage
    assert set(algorithm.broadcast(algorithm.init()).parameters) == set(wire.replies[0].payload)


# what the server sees


def test_noise_is_drawn_anew_and_can_be_repeated(method, clients, rounds, same):
    options = {"clip_norm": 1.0, "noise_multiplier": 0.3}
    (*_, one), (*_, again) = (rounds(method(**options), clients, 2)[0] for _ in range(2))
    (*_, without), (*_, clipped) = (rounds(method(**o), clients, 2)[0] for o in ({}, {"clip_norm": 1.0}))
    assert same(one.parameters, again.parameters)
    assert not same(one.parameters, clipped.parameters)
    assert not same(clipped.parameters, without.parameters)


def test_noise_hides_what_is_scored_too(method, clients):
    quiet, loud = method(clip_norm=1.0), method(clip_norm=1.0, noise_multiplier=2.0)
    scores = [a.score("test", a.broadcast(a.init()), clients[0]).loss_sum for a in (quiet, loud, loud)]
    assert scores[0] != scores[1] == scores[2]


def test_noise_without_a_norm_is_refused(method):
    with pytest.raises(ConfigError, match=r"units of algorithm\.clip"):
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
def test_plan_is_what_the_rounds_then_ask(method, toy, clients, limit, batch, epochs, trainable):
    backend = toy(max_batch=limit)
    algorithm = method(backend, batch_size=batch, epochs=epochs, trainable=trainable, local_epochs=2)
    planned = sum((algorithm.plan(client, round_) for round_ in (1, 2) for client in clients), Usage())
    assert not backend.asked
    state, asked = algorithm.init(), Usage()
    for _ in range(2):
        exchange = CountedExchange(Serial(), clients)
        state, _ = algorithm.round(state, exchange)
        asked += exchange.usage
    assert planned == asked == Usage(sum(backend.asked), len(backend.asked))
    assert not backend.calls  # nothing is queried


@pytest.mark.parametrize(("trainable", "crossings"), [("prompt", 4), ("linear", 2), ("full", 4)])
def test_bytes_are_those_of_the_messages(method, toy, clients, messages, trainable, crossings):
    algorithm = method(toy(width=256), trainable=trainable, keep_fraction=0.5, batch_size=128)
    exchange = CountedExchange(Serial(), clients)
    start = algorithm.init()
    wire = Wire(clients)
    algorithm.round(start, wire)
    assert len(messages) == crossings * len(clients)
    traffic = sum(messages)
    assert sum(sum(update.traffic) for update in wire.replies) == traffic
    assert all(update.traffic.up == update.traffic.down for update in wire.replies)
    algorithm.round(start, exchange)
    outside = len(algorithm.broadcast(start).to_bytes()) * 3, sum(len(update.to_bytes()) for update in wire.replies)
    assert (exchange.bytes_down, exchange.bytes_up) == (outside[0] + traffic // 2, outside[1] + traffic // 2)
    kept, q = 2 + 4 + 6, 4 * (2 + PLACES) * 256  # bytes of a sample's smashed data
    assert traffic == pytest.approx(crossings * q * kept, rel=0.01)


def test_scoring_crosses_once_in_each_direction(method, toy, clients, messages):
    algorithm = method(toy(max_batch=4))
    result = evaluate(algorithm, algorithm.init(), clients, "test", Serial())
    assert len(messages) == 2 * 3 * 3  # 9 test samples a client, 4 at a time
    assert result.usage == Usage(27, 9)
    told = len(algorithm.broadcast(algorithm.init()).to_bytes())
    assert result.bytes_down == 3 * told + sum(messages) // 2
    assert result.bytes_up == sum(len(score.to_bytes()) for score in result.scores) + sum(messages) // 2


def test_confusion_is_over_the_tasks_classes(method, toy, clients):
    backend = toy(classes=("blue", "grey", "green", "red"))
    algorithm = method(backend, classes=("red", "green", "blue"))
    score = algorithm.score("test", algorithm.broadcast(algorithm.init()), clients[0])
    assert score.confusion.shape == (3, 3)
    assert score.confusion.sum(1).tolist() == np.bincount(clients[0].test.labels, minlength=3).tolist()
    assert np.isfinite(score.loss_sum)
    assert not score.unanswered


def test_what_crossed_travels_with_a_reply_and_adds_nothing_to_others():
    update = Update("client-000", {}, 3, 0.5, Usage(3, 1), spread=0.1)
    told = replace(update, traffic=Traffic(10, 20))
    assert Update.from_bytes(told.to_bytes()) == told
    assert b"traffic" in told.to_bytes()
    assert b"traffic" not in update.to_bytes()
    score = Score("client-000", np.eye(2, dtype=np.int64), 0.5, 0, Usage(), Traffic(1, 2))
    assert Score.from_bytes(score.to_bytes()).traffic == Traffic(1, 2)


@pytest.mark.parametrize("wire", ["bfloat16", "int8"])
def test_a_shorter_wire_learns_too(method, clients, rounds, wire):
    algorithm = method(activation_dtype=wire, lr=1.0, keep_fraction=1.0)
    _, losses = rounds(algorithm, clients, 30)
    assert losses[-1] < 0.9 * losses[0]


# reproducible


@MODES
def test_same_seed_same_bits_and_a_resumed_run_too(method, clients, rounds, same, trainable):
    options = {"trainable": trainable, "batch_size": 3, "participation": 0.7}
    states, losses = rounds(method(**options), clients, 4)
    again, losses_again = rounds(method(**options), clients, 4)
    resumed, _ = rounds(method(**options), clients, 2, states[2])
    assert losses == losses_again
    assert all(same(a.parameters, b.parameters) for a, b in zip(states, again, strict=True))
    assert same(resumed[-1].parameters, states[-1].parameters)
    assert all(values.dtype == np.float32 for values in states[-1].parameters.values())
    other, _ = rounds(method(seed=6, **options), clients, 1)
    assert not same(other[-1].parameters, states[1].parameters)


@MODES
def test_a_round_over_the_wire_gives_the_same_bits(method, clients, rounds, same, trainable):
    algorithm = method(trainable=trainable)
    (*_, state), _ = rounds(algorithm, clients, 2)
    spoken, loss = algorithm.round(state, CountedExchange(Serial(), clients))
    wired, wired_loss = algorithm.round(state, Wire(clients))
    assert same(spoken.parameters, wired.parameters)
    assert loss == wired_loss


def test_rounds_draw_anew(method, clients, same):
    algorithm = method(batch_size=3)
    start = algorithm.init()
    now, _ = algorithm.round(start, CountedExchange(Serial(), clients))
    later, _ = algorithm.round(replace(start, round=1), CountedExchange(Serial(), clients))
    assert not same(now.parameters, later.parameters)
    assert same(start.parameters, algorithm.init().parameters)


def test_other_data_than_a_clients_training_samples_do_not_matter(method, clients, rounds, same):
    swapped = [replace(client, validation=client.test, test=client.validation) for client in clients]
    (*_, one), (*_, other) = (rounds(method(), them, 2)[0] for them in (clients, swapped))
    assert same(one.parameters, other.parameters)


def test_a_body_of_another_round_is_not_taken(method, clients, rounds):
    algorithm = method(trainable="full")
    old = algorithm.broadcast(algorithm.init())
    rounds(algorithm, clients, 2)
    with pytest.raises(RuntimeError, match="no longer has the body"):
        algorithm.score("test", old, clients[0])


@pytest.mark.parametrize(("fraction", "count"), [(1.0, 20), (0.29, 6), (0.001, 1)])
def test_sample_draws_the_fraction_in_order(method, make_client, fraction, count):
    algorithm = method(participation=fraction)
    everybody = [make_client(f"client-{i:03d}", 1) for i in range(20)]
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


def test_divergence_is_an_error_that_says_what_to_do(method, clients, rounds):
    with pytest.raises(ConfigError, match=r"algorithm\.lr"):
        rounds(method(lr=1e39), clients, 5)


class Poisoned(CountedExchange):
    """An exchange on which all that some clients have changed becomes NaN."""

    def __init__(self, clients, victims):
        super().__init__(Serial(), clients)
        self.victims = {client.id for client in victims}

    def __call__(self, work, message):
        return [_nan(r) if r.client in self.victims else r for r in super().__call__(work, message)]


def _nan(update):
    return replace(update, payload={part: values * np.float32("nan") for part, values in update.payload.items()})


@pytest.mark.parametrize("trainable", ["prompt", "full"])
def test_a_client_that_sends_nan_is_as_if_it_had_not_been_there(method, clients, trainable):
    algorithm, other = method(trainable=trainable), method(trainable=trainable)
    sound = SoundExchange(Poisoned(clients, clients[:1]), algorithm)
    state, _ = algorithm.round(algorithm.init(), sound)
    without, _ = other.round(other.init(), CountedExchange(Serial(), clients[1:]))
    assert sound.out.keys() == {clients[0].id}
    assert all(state.parameters[part].tobytes() == values.tobytes() for part, values in without.parameters.items())


def test_if_nobody_is_left_with_numbers_the_run_has_diverged(method, clients):
    algorithm = method()
    with pytest.raises(ConfigError, match="diverged"):
        algorithm.round(algorithm.init(), SoundExchange(Poisoned(clients, clients), algorithm))


def test_honest_updates_and_scores_have_the_form_of_blank_ones(method, clients):
    algorithm = method()
    sound = SoundExchange(CountedExchange(Serial(), clients), algorithm)
    state, _ = algorithm.round(algorithm.init(), sound)
    assert not sound.out
    assert not evaluate(algorithm, state, clients, "test", Serial()).out

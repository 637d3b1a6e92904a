from functools import partial

import numpy as np
import pytest

from fedbbpt.algorithms.steps import draw
from fedbbpt.engines.serial import Serial
from fedbbpt.optim.random_search import RandomSearch
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.readouts.prototypes import Prototypes
from fedbbpt.run.client_pool import CountedExchange
from fedbbpt.types import Client, Message, Sums, Update, Usage

SIZE = (8, 8)


@pytest.fixture
def sorted_clients(make_data):
    """Three clients who hold one class each, in very different numbers, and one who holds all their data."""
    pool = make_data(40)
    rows = [np.flatnonzero(pool.labels == label)[:count] for label, count in enumerate((2, 5, 9))]
    clients = [Client(f"client-{i:03d}", pool.take(r), pool, pool) for i, r in enumerate(rows)]
    return clients, Client("everybody", pool.take(np.concatenate(rows)), pool, pool)


class Recording(CountedExchange):
    """Keeps the replies of each exchange."""

    def __init__(self, clients):
        super().__init__(Serial(), clients)
        self.replies = []

    def __call__(self, work, message):
        self.replies.append(super().__call__(work, message))
        return self.replies[-1]


def test_merge_weighs_clients_by_samples(make, fake_backend):
    algorithm = make(fake_backend, upload="parameters")
    state = algorithm.init()
    ones, zeros = ({part: np.full(12, v, np.float32) for part in ("prompt", "optimizer")} for v in (1, 0))
    merged = algorithm.merge(state, [Update("a", ones, 3, 0.5, Usage()), Update("b", zeros, 1, 0.5, Usage())])
    for part in ("prompt", "optimizer"):
        assert np.allclose(merged.parameters[part] - state.parameters[part], 0.75)


def test_an_update_says_who_and_how_much(make, fake_backend, make_client):
    algorithm = make(fake_backend, local_steps=3)
    update = algorithm.local(algorithm.broadcast(algorithm.init()), make_client("me", train=7))
    assert (update.client, update.weight) == ("me", 7)
    assert update.usage == Usage(3 * 8 * 7, 3 * 4)
    assert {part: values.shape for part, values in update.payload.items()} == {"losses": (3, 8)}


def test_a_message_is_all_there_is_to_know(make, fake_backend):
    algorithm = make(fake_backend)
    state = algorithm.init()
    message = algorithm.broadcast(state)
    assert (message.round, message.seed) == (1, 5)
    assert message.parameters is state.parameters


def test_gains_and_memory_go_on_where_the_last_round_ended(make, rounds, fake_backend, clients):
    started, memories = set(), set()

    def optimizer(start):
        started.add(start.step)
        memories.add(None if start.state is None else start.state.tobytes())
        return SpsaGC(start)

    states, _ = rounds(make(fake_backend, optimizer=optimizer, local_steps=4), clients, 3)
    assert started == {0, 4, 8}
    told = [state.parameters["optimizer"].astype(np.float64).tobytes() for state in states[:3]]
    assert len(set(told)) == 3
    assert memories == {None, *told}


def test_directions_do_not_depend_on_how_much_data_a_client_has(make, fake_backend, make_client):
    asked = []

    def optimizer(start):
        asked.append(RandomSearch(start, population_size=3))
        return asked[-1]

    algorithm = make(fake_backend, optimizer=optimizer, batch_size=2)
    message = algorithm.broadcast(algorithm.init())
    tried = []
    for train in (2, 9):
        algorithm.local(message, make_client("me", train))
        tried.append(asked[-1]._candidates)
    assert np.array_equal(*tried)
    algorithm.local(message, make_client("you", 9))
    assert not np.allclose(asked[-1]._candidates, tried[0])


def test_without_a_prompt_only_the_readout_moves(make, rounds, fake_backend, clients):
    (start, after), _ = rounds(make(fake_backend, prompt=NoPrompt(SIZE)), clients, 1)
    assert after.parameters["prompt"].shape == after.parameters["optimizer"].shape == (0,)
    assert not start.parameters["readout"].any()
    assert after.parameters["readout"].any()


def test_without_a_prompt_everything_is_asked_about_whatever_the_minibatch(make, fake_backend, make_client):
    algorithm, client = make(fake_backend, prompt=NoPrompt(SIZE), batch_size=2), make_client(train=7)
    update = algorithm.local(algorithm.broadcast(algorithm.init()), client)
    assert update.usage.queries == algorithm.plan(client, 1).queries == 7


def test_a_readout_without_weights_is_not_exchanged(make, fake_backend, clients):
    for readout, least in ((Identity, 1), (Prototypes, 2), (LinearReadout, 3)):
        exchange, algorithm = Recording(clients), make(fake_backend, readout=readout)
        algorithm.round(algorithm.init(), exchange)
        assert len(exchange.replies) == least if least < 3 else len(exchange.replies) >= least
        assert all(isinstance(reply, Sums) for replies in exchange.replies[1:] for reply in replies)


@pytest.mark.parametrize("readout", [LinearReadout, Prototypes])
def test_the_federations_readout_is_that_of_one_hand_with_all_the_data(
    make, rounds, fake_backend, sorted_clients, readout
):
    clients, everybody = sorted_clients
    algorithm = make(fake_backend, prompt=NoPrompt(SIZE), readout=readout)
    one, many = (rounds(algorithm, them, 1)[0][-1].parameters["readout"] for them in ([everybody], clients))
    assert np.abs(one).max() > 0.1
    scores = fake_backend.query(everybody.test.batch(slice(0, 16)).inputs).scores[:, None]
    kind = readout(fake_backend.info, fake_backend.info.classes)
    alone, together = (np.exp(kind.log_probabilities(weights, scores)) for weights in (one, many))
    assert np.abs(alone - together).max() < 5e-4  # the fit stops where its loss changes by less than 1e-7
    losses = [-np.log(p[np.arange(16), everybody.test.labels[:16]]).mean() for p in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_the_fit_lowers_the_loss_of_what_was_asked(make, rounds, fake_backend, clients):
    _, losses = rounds(make(fake_backend, prompt=NoPrompt(SIZE)), clients, 3)
    assert losses[1] < losses[0] - 0.05
    assert losses[2] == pytest.approx(losses[1], abs=1e-3)


def test_sums_are_those_of_all_answers_of_the_round(make, fake_backend, make_client):
    algorithm, client = make(fake_backend, local_steps=3, batch_size=4), make_client(train=7)
    message = algorithm.broadcast(algorithm.init())
    algorithm.local(message, client)
    count = algorithm.sums(Message(1, 5, {"readout": message.parameters["readout"]}), client).values[0]
    assert count == 3 * 8 * 4


def test_loss_is_the_mean_over_all_that_was_measured(make, fake_backend, make_client):
    algorithm, client = make(fake_backend, prompt=NoPrompt(SIZE), readout=Identity, batch_size=50), make_client()
    message = algorithm.broadcast(algorithm.init())
    score = algorithm.score("train", message, client)
    assert algorithm.local(message, client).loss == pytest.approx(score.loss_sum / len(client.train))


def test_loss_of_a_round_is_the_mean_over_clients_that_measured_anything(make, make_backend, clients):
    lost = {image.tobytes() for image in clients[2].train.batch(slice(None)).inputs}
    backend = make_backend(fails=lambda inputs: np.array([image.tobytes() in lost for image in inputs]))
    algorithm, exchange = make(backend, prompt=NoPrompt(SIZE)), Recording(clients)
    _, loss = algorithm.round(algorithm.init(), exchange)
    first, second, third = (update.loss for update in exchange.replies[0])
    assert np.isnan(third)
    assert loss == pytest.approx((first + second) / 2)


def test_score_counts_true_by_predicted_class(make, fake_backend, make_client):
    algorithm, client = make(fake_backend, prompt=NoPrompt(SIZE), readout=Identity), make_client()
    score = algorithm.score("test", algorithm.broadcast(algorithm.init()), client)
    predicted = fake_backend.query(client.test.batch(slice(None)).inputs).scores.argmax(1)
    expected = np.zeros((3, 3), np.int64)
    for truth, guess in zip(client.test.labels, predicted, strict=True):
        expected[truth, guess] += 1
    assert np.array_equal(score.confusion, expected)
    assert (score.client, score.unanswered) == (client.id, 0)


@pytest.mark.parametrize("limit", [1, 2, 9, 100])
def test_score_does_not_depend_on_the_batch_limit(make, make_backend, fake_backend, make_client, limit):
    client, expected = make_client(), make(fake_backend)
    message = expected.broadcast(expected.init())
    score = make(make_backend(max_batch=limit)).score("test", message, client)
    assert np.array_equal(score.confusion, expected.score("test", message, client).confusion)
    assert score.loss_sum == pytest.approx(expected.score("test", message, client).loss_sum)
    assert score.usage == Usage(9, -(-9 // limit))


def test_failed_queries_are_counted_and_left_out_of_the_score(make, make_backend, make_client):
    client = make_client()
    lost = client.test.batch(slice(2, 4)).inputs
    backend = make_backend(fails=lambda inputs: np.array([any(np.array_equal(x, y) for y in lost) for x in inputs]))
    algorithm = make(backend, prompt=NoPrompt(SIZE))
    score = algorithm.score("test", algorithm.broadcast(algorithm.init()), client)
    assert score.unanswered == 2
    assert score.confusion.sum() == 7
    assert np.isfinite(score.loss_sum)


def test_failed_queries_are_left_out_of_the_fit(make, rounds, make_backend, fake_backend, clients):
    lost = {clients[2].train.batch(slice(i, i + 1)).inputs[0].tobytes() for i in (0, 5)}
    backend = make_backend(fails=lambda inputs: np.array([image.tobytes() in lost for image in inputs]))
    left = clients[2].train.take(np.array([i for i in range(12) if i not in (0, 5)]))
    fewer = [*clients[:2], Client("client-002", left, left, left)]
    some, without = (
        rounds(make(model, prompt=NoPrompt(SIZE)), them, 1)[0][-1].parameters["readout"]
        for model, them in ((backend, clients), (fake_backend, fewer))
    )
    assert some.tolist() == without.tolist()


def test_score_of_an_empty_split_asks_nothing(make, fake_backend, make_client):
    algorithm, client = make(fake_backend), make_client()
    object.__setattr__(client, "test", client.test.take(np.zeros(0, np.int64)))
    score = algorithm.score("test", algorithm.broadcast(algorithm.init()), client)
    assert score.usage == Usage(0, 0)
    assert score.confusion.sum() == score.loss_sum == score.unanswered == 0


def test_minibatch_is_drawn_without_replacement(make_data):
    data, rng = make_data(20), np.random.default_rng(0)
    batches = [draw(data, 19, rng) for _ in range(5)]
    for batch in batches:
        assert len({image.tobytes() for image in batch.inputs}) == 19
    assert len({batch.inputs.tobytes() for batch in batches}) == 5


@pytest.mark.parametrize("size", [20, 21])
def test_minibatch_of_all_keeps_the_order(make_data, size):
    data = make_data(20)
    assert np.array_equal(draw(data, size, np.random.default_rng(0)).labels, data.labels)


def test_every_step_draws_another_minibatch(make, fake_backend, make_client):
    optimizer = partial(RandomSearch, sigma=1e-9, population_size=1)  # pictures stay what they are
    algorithm = make(fake_backend, optimizer=optimizer, local_steps=6, batch_size=3)
    update = algorithm.local(algorithm.broadcast(algorithm.init()), make_client(train=9))
    assert update.usage.queries == 6 * 3
    assert len({fake_backend.seen[3 * step] for step in range(6)}) > 1

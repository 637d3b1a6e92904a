from functools import partial

import numpy as np
import pytest

from fedbbpt.algorithms import Parts
from fedbbpt.algorithms.fedavg import FedAvg, draw
from fedbbpt.errors import ConfigError
from fedbbpt.objective import Objective
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readout import Head, Identity
from fedbbpt.types import Message, Update, Usage

SIZE = (8, 8)


def make(backend, prompt=None, readout=Head, optimizer=SpsaGC, **options):
    objective = Objective(backend, prompt or Dct(SIZE, frequencies=2), readout(backend.info, backend.info.classes))
    return FedAvg(Parts(objective, partial(optimizer), 5), **options)


def test_merge_weighs_clients_by_samples(fake_backend):
    algorithm = make(fake_backend)
    state = algorithm.init()
    ones = {part: np.ones_like(vector) for part, vector in state.parameters.items()}
    zeros = {part: np.zeros_like(vector) for part, vector in state.parameters.items()}
    merged = algorithm.merge(state, [Update("a", ones, 3, 0.0, Usage()), Update("b", zeros, 1, 0.0, Usage())])
    for part, vector in merged.parameters.items():
        assert np.allclose(vector - state.parameters[part], 0.75)


def test_an_update_says_who_and_how_much(fake_backend, make_client):
    algorithm = make(fake_backend)
    update = algorithm.local(algorithm.broadcast(algorithm.init()), make_client("me", train=7))
    assert (update.client, update.weight) == ("me", 7)
    assert all(vector.dtype == np.float32 for vector in update.change.values())


def test_a_message_is_all_there_is_to_know(fake_backend):
    algorithm = make(fake_backend)
    state = algorithm.init()
    message = algorithm.broadcast(state)
    assert (message.round, message.seed) == (1, 5)
    assert message.parameters is state.parameters


def test_gains_go_on_where_the_last_round_ended(fake_backend, make_client):
    started = []

    def optimizer(x, rng, steps_before):
        started.append(steps_before)
        return SpsaGC(x, rng, steps_before)

    algorithm = make(fake_backend, optimizer=optimizer, local_steps=4)
    state = algorithm.init()
    for round_ in (1, 2, 3):
        algorithm.local(Message(round_, 5, state.parameters), make_client())
    assert started == [0, 4, 8]


def test_without_a_prompt_only_the_readout_moves(fake_backend, make_client):
    algorithm = make(fake_backend, NoPrompt(SIZE))
    update = algorithm.local(algorithm.broadcast(algorithm.init()), make_client())
    assert update.change["prompt"].shape == (0,)
    assert update.change["readout"].any()


def test_loss_is_the_mean_over_all_that_was_measured(fake_backend, make_client):
    algorithm, client = make(fake_backend, NoPrompt(SIZE), Identity, batch_size=50), make_client()
    message = algorithm.broadcast(algorithm.init())
    score = algorithm.score("train", message, client)
    assert algorithm.local(message, client).loss == pytest.approx(score.loss_sum / len(client.train))


def test_score_counts_true_by_predicted_class(fake_backend, make_client):
    algorithm, client = make(fake_backend, NoPrompt(SIZE), Identity), make_client()
    score = algorithm.score("test", algorithm.broadcast(algorithm.init()), client)
    predicted = fake_backend.query(client.test.batch(slice(None)).inputs).scores.argmax(1)
    expected = np.zeros((3, 3), np.int64)
    for truth, guess in zip(client.test.labels, predicted, strict=True):
        expected[truth, guess] += 1
    assert np.array_equal(score.confusion, expected)
    assert (score.client, score.unanswered) == (client.id, 0)


@pytest.mark.parametrize("limit", [1, 2, 9, 100])
def test_score_does_not_depend_on_the_batch_limit(make_backend, fake_backend, make_client, limit):
    client, expected = make_client(), make(fake_backend)
    message = expected.broadcast(expected.init())
    score = make(make_backend(batch_limit=limit)).score("test", message, client)
    assert np.array_equal(score.confusion, expected.score("test", message, client).confusion)
    assert score.loss_sum == pytest.approx(expected.score("test", message, client).loss_sum)
    assert score.usage == Usage(9, -(-9 // limit))


def test_failed_queries_are_counted_and_left_out_of_the_score(make_backend, make_client):
    client = make_client()
    lost = client.test.batch(slice(2, 4)).inputs
    backend = make_backend(fails=lambda inputs: np.array([any(np.array_equal(x, y) for y in lost) for x in inputs]))
    algorithm = make(backend, NoPrompt(SIZE))
    score = algorithm.score("test", algorithm.broadcast(algorithm.init()), client)
    assert score.unanswered == 2
    assert score.confusion.sum() == 7
    assert np.isfinite(score.loss_sum)


def test_score_of_an_empty_split_asks_nothing(fake_backend, make_data, make_client):
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


def test_divergence_is_said_plainly_and_nothing_is_sent(fake_backend, make_client):
    algorithm = make(fake_backend, optimizer=partial(SpsaGC, a=1e300), readout=Identity)
    with pytest.raises(ConfigError, match="prompt of client-000 diverged"):
        algorithm.local(algorithm.broadcast(algorithm.init()), make_client())

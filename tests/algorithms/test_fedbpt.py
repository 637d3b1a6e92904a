"""FedBPT on skewed clients with texts: what they search for, send and ask, and the copies with swapped words."""

from functools import partial

import numpy as np
import pytest

from fedbbpt.algorithms.fedbpt import FedBpt, replaced, words_of
from fedbbpt.backend import BackendInfo, BackendOutput, Embeddings
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.optim.cma import Cma
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.prompts.padding import Padding
from fedbbpt.prompts.soft import Soft
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Client, Dataset, Usage

CLASSES = ("red", "green", "blue")
WORDS = np.array([*CLASSES, "und", "the", "a"], object)


class Reader:
    """Counts the words that name a class; the soft prompt is read as a weight of the counts and a bias per class."""

    def __init__(self, max_batch=64):
        self.info = BackendInfo("reader", None, CLASSES, "logits", max_batch, Embeddings(8, 0.1))
        self.calls, self.seen = [], []
        self._projection = np.random.default_rng(0).normal(size=(16, 1 + len(CLASSES)))

    def query(self, inputs):
        self.calls.append(len(inputs))
        self.seen.extend(one.text for one in inputs)
        counts = np.array([[one.text.split().count(name) for name in CLASSES] for one in inputs])
        weights = np.stack([one.soft_prompt.ravel() for one in inputs]) @ self._projection  # (b, 1 + K)
        return BackendOutput((weights[:, :1] * counts + weights[:, 1:]).astype(np.float32))


def data(labels, seed=0):
    """Texts of 6 words, 3 of them the label's."""
    rng = np.random.default_rng(seed)
    words = [[*rng.choice(WORDS, 3), *[CLASSES[label]] * 3] for label in labels]
    return Dataset(as_texts([" ".join(rng.permutation(text)) for text in words]), np.array(labels, np.int64))


def client(i, labels):
    return Client(f"client-{i:03d}", data(labels, i), *[data([0, 1, 2] * 10, 99)] * 2)


@pytest.fixture
def skewed():
    """Four clients, most of whose texts are of one class, and each of another number of texts."""
    return [client(i, [i % 3] * (6 + i) + [0, 1, 2]) for i in range(4)]


def soft(backend, dim=12, sigma=1.0, readout=Identity, optimizer=SepCma, **options):
    """The options of FedBPT on a soft prompt."""
    prompt = Soft(backend.info.embeddings, dim=dim, num_tokens=2)
    return options | {"prompt": prompt, "readout": readout, "optimizer": partial(optimizer, sigma=sigma)}


@pytest.fixture
def make_bpt(make):
    """`make_bpt(backend, dim=12, sigma=1.0, **options)`: FedBPT on a soft prompt."""
    return lambda backend, **options: make(backend, FedBpt, **soft(backend, **options))


@pytest.fixture
def simulate_bpt(simulate):
    """`simulate_bpt(clients, backend, **options)`: its rounds over clients."""
    return lambda clients, backend, **options: simulate(clients, backend, FedBpt, **soft(backend, **options))


@pytest.mark.parametrize("step_size_rule", ["paper", "code"])
@pytest.mark.parametrize("optimizer", [SepCma, Cma])
def test_it_finds_a_good_point_though_clients_differ(simulate_bpt, skewed, step_size_rule, optimizer):
    simulation = simulate_bpt(skewed, Reader(), optimizer=optimizer, step_size_rule=step_size_rule)
    start, *_, last = simulation.states(12)
    first, last = (simulation.evaluate(state, "test") for state in (start, last))
    assert first.accuracy < 0.4
    assert last.accuracy > 0.9
    assert last.loss < 0.5 * first.loss


def test_a_round_in_500_dimensions_takes_few_kilobytes_each_way(make_bpt, train, skewed):
    algorithm = make_bpt(Reader(), dim=500)
    message = algorithm.broadcast(algorithm.init())
    assert {part: len(values) for part, values in message.parameters.items()} == {
        "prompt": 500,
        "optimizer": 501,  # log σ and the logarithms of the variances
        "readout": 0,
    }
    update, _ = train(algorithm, skewed[0])
    assert {part: len(values) for part, values in update.payload.items()} == {"prompt": 500, "loss": 1, "sigmas": 8}
    assert len(message.to_bytes()) <= 4300
    assert len(update.to_bytes()) <= 2400


def test_a_client_sends_its_mean_its_loss_there_and_its_steps(make_bpt, train, skewed):
    algorithm = make_bpt(Reader(), sigma=0.7)
    update, _ = train(algorithm, skewed[1])
    objective, batch = algorithm.model, skewed[1].train.batch(slice(None))
    scores = objective.answers(update.payload["prompt"][None], batch)
    assert update.payload["loss"] == pytest.approx(objective.losses(np.zeros(0), scores, batch.labels))
    sigmas = update.payload["sigmas"]
    assert sigmas[0] == pytest.approx(0.7)
    assert len(set(sigmas.tolist())) == 8
    assert (update.client, update.weight) == ("client-001", 10)


@pytest.mark.parametrize("word_swap_rate", [0.0, 0.5])
@pytest.mark.parametrize(("limit", "batch"), [(3, 4), (64, 4), (7, 128)])
def test_copies_cost_twice_the_queries_as_expected(simulate_bpt, skewed, word_swap_rate, limit, batch):
    backend = Reader(limit)
    simulation = simulate_bpt(skewed, backend, word_swap_rate=word_swap_rate, local_steps=2, batch_size=batch)
    expected = sum((simulation.algorithm.expected_usage(client, 1) for client in simulation.sizes), Usage())
    simulation.states(1)
    assert expected == simulation.pool.usage == Usage(sum(backend.calls), len(backend.calls))
    examples = sum(min(batch, len(client.train)) for client in skewed)
    assert expected.queries == (2 if word_swap_rate else 1) * (2 * 5 + 1) * examples


def test_clients_minimise_the_loss_over_that_of_their_copies(make_bpt, train, skewed):
    backend = Reader()
    algorithm = make_bpt(backend, word_swap_rate=0.5)
    update, _ = train(algorithm, skewed[0])
    objective, real = algorithm.model, skewed[0].train.batch(slice(None))
    copies = real._replace(inputs=as_texts(backend.seen[-len(real.labels) :]))
    assert copies.inputs.tolist() != real.inputs.tolist()
    loss, loss_of_copies = (
        objective.losses(np.zeros(0), objective.answers(update.payload["prompt"][None], batch), batch.labels)
        for batch in (real, copies)
    )
    assert update.payload["loss"] == pytest.approx(loss / loss_of_copies)


def test_the_readout_is_fitted_to_answers_to_the_texts_themselves(make_bpt, train, skewed):
    counts = []
    for word_swap_rate in (0.0, 0.5):
        algorithm = make_bpt(Reader(), word_swap_rate=word_swap_rate, readout=LinearReadout, local_steps=2)
        _, ctx = train(algorithm, skewed[0])
        message = algorithm.broadcast(algorithm.init())
        counts.append(algorithm.handlers["fit_statistics"](message, ctx).values[0])
    assert counts == [(2 * 5 + 1) * 9] * 2


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_words_is_replaced_by_others_of_the_client(share):
    texts = as_texts([" ".join(f"word{i}" for i in range(400))] * 10 + [""])
    words = words_of(as_texts(["one two two", "three"]))
    copies = replaced(texts, words, share, np.random.default_rng(0))
    assert words.tolist() == ["one", "three", "two"]
    changed = [new for new, old in zip(" ".join(copies).split(), " ".join(texts).split(), strict=True) if new != old]
    assert len(changed) / 4000 == pytest.approx(share, abs=0.03)
    assert set(changed) <= set(words)
    assert copies[-1] == ""
    assert len(set(copies[:10])) == (10 if share else 1)


def test_other_optimizers_are_refused(make, fake_backend):
    with pytest.raises(ConfigError, match="use --optimizer sep-cma"):
        make(fake_backend, FedBpt)  # SPSA


def test_cma_is_for_few_dimensions(make, fake_backend):
    with pytest.raises(ConfigError, match="use 'sep-cma'"):
        make(fake_backend, FedBpt, prompt=Padding((64, 64)), optimizer=Cma)


def test_words_of_images_cannot_be_replaced(make, fake_backend):
    with pytest.raises(ConfigError, match="word_swap_rate replaces words"):
        make(fake_backend, FedBpt, optimizer=SepCma, word_swap_rate=0.5)

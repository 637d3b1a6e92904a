from functools import partial

import cmaes
import numpy as np
import pytest

from fedbbpt.algorithms.fedbpt import FedBpt, replaced, step_of, words_of
from fedbbpt.backend import BackendInfo, BackendOutput, Embeddings
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.optim.cma import Cma
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.optim.two_point import rms
from fedbbpt.prompts.low_rank import LowRank
from fedbbpt.prompts.padding import Padding
from fedbbpt.prompts.soft import Soft
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Client, Dataset, Update, Usage

CLASSES = ("red", "green", "blue")
WORDS = np.array([*CLASSES, "und", "the", "a"], object)


class Reader:
    """Counts the words that name a class, as loudly as the prefix tells it to, and leans to any class it is told."""

    def __init__(self, max_batch=64):
        self.info = BackendInfo("reader", None, CLASSES, "logits", max_batch, Embeddings(8, 0.1))
        self.calls, self.seen = [], []
        self._heard = np.random.default_rng(0).normal(size=(16, 1 + len(CLASSES)))

    def query(self, inputs):
        self.calls.append(len(inputs))
        self.seen.extend(one.text for one in inputs)
        counts = np.array([[one.text.split().count(name) for name in CLASSES] for one in inputs])
        heard = np.stack([one.soft_prompt.ravel() for one in inputs]) @ self._heard  # (b, 1 + K)
        return BackendOutput((heard[:, :1] * counts + heard[:, 1:]).astype(np.float32))


def data(labels, seed=0):
    """Texts of 6 words, 3 of them the label's."""
    rng = np.random.default_rng(seed)
    drawn = [[*rng.choice(WORDS, 3), *[CLASSES[label]] * 3] for label in labels]
    return Dataset(as_texts([" ".join(rng.permutation(words)) for words in drawn]), np.array(labels, np.int64))


def holder(i, labels):
    return Client(f"client-{i:03d}", data(labels, i), *[data([0, 1, 2] * 10, 99)] * 2)


@pytest.fixture
def skewed():
    """Four clients, most of whose texts are of one class, and each of another number of texts."""
    return [holder(i, [i % 3] * (6 + i) + [0, 1, 2]) for i in range(4)]


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


def told(mean, loss, sigmas, client="a"):
    """What a client says."""
    payload = {"prompt": np.float32(mean), "loss": np.array([loss]), "sigmas": np.float32(sigmas)}
    return Update(client, payload, 1, loss, Usage())


def four(dim=12, seed=0):
    """Replies of four clients whose losses are 3, 1, 4, 2."""
    rng = np.random.default_rng(seed)
    means, sigmas = rng.normal(size=(4, dim)), rng.uniform(0.5, 1.5, (4, 3)).astype(np.float32)
    return [told(mean, loss, s) for mean, loss, s in zip(means, (3.0, 1.0, 4.0, 2.0), sigmas, strict=True)]


@pytest.mark.parametrize("step_size_rule", ["paper", "code"])
@pytest.mark.parametrize("optimizer", [SepCma, Cma])
def test_it_finds_a_good_point_though_clients_differ(simulate_bpt, skewed, step_size_rule, optimizer):
    simulation = simulate_bpt(skewed, Reader(), optimizer=optimizer, step_size_rule=step_size_rule)
    start, *_, last = simulation.states(12)
    first, last = (simulation.evaluate(state, "test") for state in (start, last))
    assert first.accuracy < 0.4
    assert last.accuracy > 0.9
    assert last.loss < 0.5 * first.loss


def test_the_papers_step_is_equation_6():
    sigmas = np.array([[1.0, 2.0, 0.5], [0.25, 1.0, 3.0]])  # of the better two of four clients
    total = (1 + 4 + 0.25) + (0.0625 + 1 + 9)
    assert step_of(sigmas, 5 / 2) == pytest.approx(2 * np.sqrt(total / (4 * 5)))


@pytest.mark.parametrize(("step_size_rule", "parents", "mu"), [("paper", [1, 3], 2.5), ("code", [1, 3, 0, 2], 2)])
def test_the_server_is_a_cma_es_whose_samples_are_the_clients(make_bpt, step_size_rule, parents, mu):
    algorithm, replies = make_bpt(Reader(), step_size_rule=step_size_rule, max_norm=1e6), four()
    step = step_of(np.array([replies[i].payload["sigmas"] for i in parents], np.float64), mu)
    by_hand = cmaes.SepCMA(np.zeros(12), step, population_size=2 * len(parents))
    best = [replies[i].payload["prompt"].astype(np.float64) for i in parents]
    others = [np.zeros(12)] * len(parents)  # the library learns from the better half
    by_hand.tell([(point, rank) for rank, point in enumerate([*best, *others])])
    new = algorithm.aggregate(algorithm.init(), replies).parameters
    logs = np.log(by_hand._eigen_decomposition()) * 2
    assert np.allclose(new["prompt"], by_hand.mean, atol=1e-6)
    assert np.allclose(new["optimizer"][1:], logs - logs.mean(), atol=1e-6)


def test_the_step_size_changes_as_the_servers_own_does_whatever_it_is(make_bpt):
    factors = []
    for sigma in (0.5, 2.0):
        algorithm = make_bpt(Reader(), sigma=sigma)
        state = algorithm.init()
        for factor in (0.1, 10):  # clients who hardly moved for their steps, and who went far
            replies = [told(factor * u.payload["prompt"], u.loss, u.payload["sigmas"]) for u in four()]
            factors.append(np.exp(algorithm.aggregate(state, replies).parameters["optimizer"][0]) / sigma)
    assert factors[0] < 1 < factors[1]
    assert factors[:2] == pytest.approx(factors[2:])


def test_only_the_better_half_counts_in_the_paper_and_all_in_the_code(make_bpt):
    moved = four()
    moved[2] = told(moved[2].payload["prompt"] + 1, 5.0, 3 * moved[2].payload["sigmas"])  # the worst
    for step_size_rule, matters in (("paper", False), ("code", True)):
        algorithm = make_bpt(Reader(), step_size_rule=step_size_rule)
        one, other = (algorithm.aggregate(algorithm.init(), replies).parameters for replies in (four(), moved))
        assert np.array_equal(one["prompt"], other["prompt"]) != matters
        assert np.array_equal(one["optimizer"], other["optimizer"]) != matters


@pytest.mark.parametrize("step_size_rule", ["paper", "code"])
def test_one_client_alone_leads_on(make_bpt, step_size_rule):
    algorithm = make_bpt(Reader(), step_size_rule=step_size_rule, max_norm=1e6)
    (update, *_) = four()
    assert np.allclose(algorithm.aggregate(algorithm.init(), [update]).parameters["prompt"], update.payload["prompt"])


def test_who_has_no_loss_at_its_mean_is_no_sample(make_bpt, same):
    algorithm, lost = make_bpt(Reader()), told(np.full(12, 99.0), np.nan, np.full(3, 99.0))
    start = algorithm.init()
    assert same(algorithm.aggregate(start, [*four(), lost]).parameters, algorithm.aggregate(start, four()).parameters)
    after = algorithm.aggregate(start, [lost, lost])
    assert after.round == 1
    assert same(after.parameters, start.parameters)


@pytest.mark.parametrize("max_norm", [0.3, 1.0])
def test_max_norm_bounds_the_way_from_the_start(simulate, fake_backend, clients, max_norm):
    prompt = LowRank((8, 8))  # whose start is not zeros
    options = {"prompt": prompt, "optimizer": partial(SepCma, sigma=3.0)}
    ways = []
    for bound in (max_norm, 1e6):
        states = simulate(clients, fake_backend, FedBpt, max_norm=bound, **options).states(3)
        start = states[0].parameters["prompt"].astype(np.float64)
        ways.append([rms(state.parameters["prompt"] - start) for state in states[1:]])
    assert ways[0] == pytest.approx([max_norm] * 3)
    assert min(ways[1]) > 1


def test_a_round_in_500_dimensions_takes_at_most_6_kilobytes_a_way(make_bpt, train, skewed):
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


def test_a_client_tells_its_mean_its_loss_there_and_its_steps(make_bpt, train, skewed):
    algorithm = make_bpt(Reader(), sigma=0.7)
    update, _ = train(algorithm, skewed[1])
    objective, batch = algorithm.model, skewed[1].train.batch(slice(None))
    scores = objective.answers(update.payload["prompt"][None], batch)
    assert update.payload["loss"] == pytest.approx(objective.losses(np.zeros(0), scores, batch.labels))
    sigmas = update.payload["sigmas"]
    assert sigmas[0] == pytest.approx(0.7)
    assert len(set(sigmas.tolist())) == 8
    assert (update.client, update.weight) == ("client-001", 10)


def test_clients_search_from_the_servers_distribution(make_bpt, train, skewed):
    starts = []

    class Spied(SepCma):
        def __init__(self, start, /, **options):
            starts.append((start.x.copy(), None if start.state is None else start.state.copy(), options))
            super().__init__(start, **options)

    algorithm = make_bpt(Reader(), optimizer=Spied, population_size=7)
    state = algorithm.aggregate(algorithm.init(), four())
    starts.clear()
    train(algorithm, skewed[0], state)
    ((x, known, options),) = starts
    assert np.array_equal(x, state.parameters["prompt"])
    assert np.array_equal(known, state.parameters["optimizer"])
    assert options == {"population_size": 7}


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
    loss, other = (
        objective.losses(np.zeros(0), objective.answers(update.payload["prompt"][None], batch), batch.labels)
        for batch in (real, copies)
    )
    assert update.payload["loss"] == pytest.approx(loss / other)


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
    frame = Padding((64, 64))
    with pytest.raises(ConfigError, match="use 'sep-cma'"):
        make(fake_backend, FedBpt, prompt=frame, optimizer=Cma)


def test_words_of_images_cannot_be_replaced(make, fake_backend):
    with pytest.raises(ConfigError, match="word_swap_rate replaces words"):
        make(fake_backend, FedBpt, optimizer=SepCma, word_swap_rate=0.5)

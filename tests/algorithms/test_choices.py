"""Federated BDPL: `fedavg` with a prompt of words and an optimizer of choices, on a model that reads some of them."""

from functools import partial

import numpy as np
import pytest

from fedbbpt.algorithms.calibration import Calibration
from fedbbpt.backend import BackendInfo, BackendOutput
from fedbbpt.data.texts import as_texts
from fedbbpt.optim.bdpl import Bdpl
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.discrete import DiscretePrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.types import Client, Dataset, Update, Usage

WORDS = ("the", "a", "review", "of", "mood", "it", "was", "film", "then", "so")
MOODS = ("sad dull grey awful", "fine great bright lovely")
SIMPLEX = partial(Bdpl, parametrisation="simplex")
SIMPLEX.categorical = True


class Reader:
    """Knows good from bad words, and is the surer of it the more often a text says "mood" or "review"."""

    info = BackendInfo("reader", None, ("bad", "good"), "logits", 64)

    def __init__(self, fails=lambda text: False):
        self._fails = fails

    def query(self, inputs):
        rows = []
        for text in inputs:
            words = text.split()
            sure = 0.2 + 0.5 * (words.count("mood") + words.count("review"))
            rows.append([sure * sum(word in mood.split() for word in words) for mood in MOODS])
            rows[-1] = [np.nan] * 2 if self._fails(text) else rows[-1]
        return BackendOutput(np.array(rows, np.float32))


def texts(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    said = [" ".join(rng.choice([*MOODS[label].split(), "film", "it"], 4)) for label in labels]
    return Dataset(as_texts(said), labels)


@pytest.fixture
def readers():
    """Three clients with texts."""
    return [Client(f"client-{i}", texts(4 + 3 * i, i), texts(6, 10 + i), texts(9, 20 + i)) for i in range(3)]


@pytest.fixture
def bdpl(simulate, readers):
    """`bdpl(backend, optimizer=Bdpl, readout=Identity, **options)`: FedAvg of four words before each text."""

    def build(backend=None, *, optimizer=Bdpl, readout=Identity, **options):
        prompt = DiscretePrompt(None, num_tokens=4, vocabulary=WORDS)
        return simulate(readers, backend or Reader(), prompt=prompt, optimizer=optimizer, readout=readout, **options)

    return build


def loss(simulation, state):
    return sum(score.loss_sum for score in simulation.evaluate(state, "validation").scores)


def words(state):
    return {WORDS[i] for i in state.parameters["prompt"].reshape(4, -1).argmax(1)}


def moved(loss, by):
    payload = {"prompt": np.full(40, by, np.float32), "optimizer": np.zeros(0, np.float32)}
    return Update("client-0", payload, 3, loss, Usage(), 0.9 * loss)


@pytest.mark.parametrize("optimizer", [Bdpl, SIMPLEX], ids=["softmax", "simplex"])
def test_rounds_find_the_words_that_help_and_lower_the_loss(bdpl, rounds, same, optimizer):
    simulation = bdpl(optimizer=optimizer)
    states, trained = rounds(simulation, 30)
    assert words(states[-1]) <= {"mood", "review"}
    assert loss(simulation, states[-1]) < 0.4 * loss(simulation, states[0])
    assert np.mean(trained[-3:]) < 0.7 * trained[0]
    again = bdpl(optimizer=optimizer).states(30)
    assert all(same(one.parameters, other.parameters) for one, other in zip(states, again, strict=True))


@pytest.mark.parametrize("share", [{"participation": 1e-6}, {"clients_per_round": 1}])
def test_one_client_a_round_finds_them_as_well(bdpl, share):
    simulation = bdpl(**share)
    assert len(simulation.algorithm.sample(simulation.algorithm.init(), simulation.sizes)) == 1
    states = simulation.states(60)
    assert loss(simulation, states[-1]) < 0.4 * loss(simulation, states[0])


@pytest.mark.parametrize("optimizer", [Bdpl, SIMPLEX], ids=["softmax", "simplex"])
@pytest.mark.parametrize("server_optimizer", ["mean", "momentum", "adam"])
def test_the_server_rebuilds_what_the_clients_found_bit_for_bit(bdpl, same, optimizer, server_optimizer):
    ends, options = [], {"optimizer": optimizer, "server_optimizer": server_optimizer}
    for upload in ("losses", "parameters"):
        backend = Reader(fails=lambda text: "so film" in text)
        ends.append(bdpl(backend, readout=LinearReadout, local_steps=3, upload=upload, **options).states(5))
    for sent, rebuilt in zip(*ends, strict=True):
        assert same(sent.parameters, rebuilt.parameters)
    assert not same(ends[0][-1].parameters, ends[0][0].parameters)


def test_a_client_sends_a_loss_per_candidate(bdpl, train, readers):
    simulation = bdpl(local_steps=2)
    update, _ = train(simulation.algorithm, readers[0])
    assert {part: values.shape for part, values in update.payload.items()} == {"losses": (2, 20)}
    assert update.usage == simulation.algorithm.expected_usage(simulation.sizes[0], 1) == Usage(2 * 20 * 4, 2 * 2)


@pytest.mark.parametrize("optimizer", [Bdpl, SpsaGC])
def test_choices_have_no_scale_but_losses_have_a_spread(bdpl, optimizer):
    states = bdpl(optimizer=optimizer).states(8)
    calibrations = [Calibration.from_array(state.parameters["calibration"]) for state in states]
    assert {one.scale for one in calibrations} == {1.0}
    assert len({one.spread for one in calibrations[1:]}) == 8


@pytest.mark.parametrize(("loss", "by", "ends"), [(5.0, 0.5, 1.5), (0.8, np.inf, 0.5)])
def test_a_loss_may_jump_but_what_is_no_number_goes_back_to_the_last_good_words(bdpl, loss, by, ends):
    algorithm = bdpl().algorithm
    state = algorithm.init()
    for update in (moved(1.0, 0.5), moved(0.9, 0.5), moved(loss, by)):
        state = algorithm.aggregate(state, [update])
    assert state.parameters["prompt"].tolist() == [ends] * 40
    assert Calibration.from_array(state.parameters["calibration"]).scale == 1

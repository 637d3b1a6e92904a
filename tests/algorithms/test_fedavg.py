"""FedAvg: a client's steps, the mean of the updates, and a readout that is fitted across clients."""

from functools import partial

import numpy as np
import pytest

from fedbbpt.algorithms import OutOfDateError
from fedbbpt.algorithms.common_candidates import CommonCandidates
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.optim.random_search import RandomSearch
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.readouts.prototypes import Prototypes
from fedbbpt.types import Client, Message, Statistics, Update, Usage

SIZE = (8, 8)


@pytest.fixture
def one_class_clients(make_data):
    """Three clients with one class each, in very different numbers, and one client with all their data."""
    pool = make_data(40)
    rows = [np.flatnonzero(pool.labels == label)[:count] for label, count in enumerate((2, 5, 9))]
    clients = [Client(f"client-{i:03d}", pool.take(r), pool, pool) for i, r in enumerate(rows)]
    return clients, Client("all", pool.take(np.concatenate(rows)), pool, pool)


def test_aggregation_weighs_clients_by_samples(make, fake_backend):
    algorithm = make(fake_backend, upload="parameters")
    state = algorithm.init()
    ones, zeros = ({part: np.full(12, v, np.float32) for part in ("prompt", "optimizer")} for v in (1, 0))
    new = algorithm.aggregate(state, [Update("a", ones, 3, 0.5, Usage()), Update("b", zeros, 1, 0.5, Usage())])
    for part in ("prompt", "optimizer"):
        assert np.allclose(new.parameters[part] - state.parameters[part], 0.75)


def test_an_update_names_its_client_and_weight(make, train, fake_backend, make_client):
    update, _ = train(make(fake_backend, local_steps=3), make_client("me", train=7))
    assert (update.client, update.weight) == ("me", 7)
    assert update.usage == Usage(3 * 4 * 7, 3 * 2)
    assert {part: values.shape for part, values in update.payload.items()} == {"losses": (3, 4)}


def test_a_message_holds_round_seed_and_parameters(make, fake_backend):
    algorithm = make(fake_backend)
    state = algorithm.init()
    message = algorithm.broadcast(state)
    assert (message.round, message.seed) == (1, 5)
    assert message.parameters is state.parameters


def test_gains_and_state_go_on_where_the_last_round_ended(simulate, rounds, fake_backend, clients):
    steps, opt_states = set(), set()

    def optimizer(start):
        steps.add(start.step)
        opt_states.add(None if start.state is None else start.state.tobytes())
        return SpsaGC(start)

    states, _ = rounds(simulate(clients, fake_backend, optimizer=optimizer, local_steps=4), 3)
    assert steps == {0, 4, 8}
    sent = [state.parameters["optimizer"].astype(np.float64).tobytes() for state in states[:3]]
    assert len(set(sent)) == 3
    assert opt_states == {None, *sent}


def test_directions_do_not_depend_on_how_much_data_a_client_has(make, train, fake_backend, make_client):
    asked = []

    def optimizer(start):
        asked.append(RandomSearch(start, population_size=3))
        return asked[-1]

    algorithm = make(fake_backend, optimizer=optimizer, batch_size=2)
    tried = []
    for count in (2, 9):
        train(algorithm, make_client("me", count))
        tried.append(asked[-1]._candidates)
    assert np.array_equal(*tried)
    train(algorithm, make_client("you", 9))
    assert not np.allclose(asked[-1]._candidates, tried[0])


def test_without_a_prompt_only_the_readout_moves(simulate, fake_backend, clients):
    start, after = simulate(clients, fake_backend, prompt=NoPrompt(SIZE)).states(1)
    assert after.parameters["prompt"].shape == after.parameters["optimizer"].shape == (0,)
    assert not start.parameters["readout"].any()
    assert after.parameters["readout"].any()


def test_without_a_prompt_everything_is_asked_about_once_whatever_the_minibatch(simulate, fake_backend, make_client):
    client = make_client(train=7)
    simulation = simulate([client], fake_backend, prompt=NoPrompt(SIZE), batch_size=2)
    expected = [simulation.algorithm.expected_usage(simulation.sizes[0], round_) for round_ in (1, 2)]
    state, asked = simulation.algorithm.init(), []
    for _ in range(2):
        state, _ = simulation.round(state)
        asked.append(simulation.pool.usage)
    assert [usage.queries for usage in asked] == [7, 0]
    assert expected == [Usage()] * 2  # what the inputs as they are cost is no round's


def test_a_readout_without_weights_is_not_exchanged(simulate, spied, fake_backend, clients):
    for readout, least in ((Identity, 1), (Prototypes, 2), (LinearReadout, 3)):
        simulation = simulate(clients, fake_backend, readout=readout)
        exchanges = spied(simulation)
        simulation.states(1)
        assert len(exchanges) == simulation.pool.exchanges
        assert len(exchanges) == least if least < 3 else len(exchanges) >= least
        assert [call.handler for call, _ in exchanges] == ["train", *["fit_statistics"] * (len(exchanges) - 1)]
        assert all(isinstance(reply, Statistics) for _, replies in exchanges[1:] for reply in replies)


@pytest.mark.parametrize("readout", [LinearReadout, Prototypes])
def test_the_federations_readout_is_that_of_a_single_client_with_all_the_data(
    simulate, fake_backend, one_class_clients, readout
):
    clients, single = one_class_clients
    options = {"prompt": NoPrompt(SIZE), "readout": readout}
    one, many = (
        simulate(them, fake_backend, **options).states(1)[-1].parameters["readout"] for them in ([single], clients)
    )
    assert np.abs(one).max() > 0.1
    scores = fake_backend.query(single.test.batch(slice(0, 16)).inputs).scores[:, None]
    kind = readout(fake_backend.info, fake_backend.info.classes)
    alone, together = (np.exp(kind.log_probabilities(weights, scores)) for weights in (one, many))
    assert np.abs(alone - together).max() < 5e-4  # the fit stops where its loss changes by less than 1e-7
    losses = [-np.log(p[np.arange(16), single.test.labels[:16]]).mean() for p in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.parametrize("kind", [FedAvg, CommonCandidates])
def test_the_readout_is_fitted_in_rounds_that_are_scored(simulate, spied, fake_backend, clients, kind):
    simulation = simulate(clients, fake_backend, kind, is_evaluated=lambda round_: round_ in (2, 3))
    exchanges, state = spied(simulation), simulation.algorithm.init()
    for round_ in range(1, 5):
        before, (state, _) = state, simulation.round(state)
        fitted = any(call.handler == "fit_statistics" for call, _ in exchanges)
        assert fitted == (round_ in (2, 3))
        assert np.array_equal(state.parameters["readout"], before.parameters["readout"]) != fitted
        assert not np.array_equal(state.parameters["prompt"], before.parameters["prompt"])
        exchanges.clear()


def test_the_fit_lowers_the_loss_of_what_was_asked(simulate, rounds, fake_backend, clients):
    _, losses = rounds(simulate(clients, fake_backend, prompt=NoPrompt(SIZE)), 3)
    assert losses[1] < losses[0] - 0.05
    assert losses[2] == pytest.approx(losses[1], abs=1e-3)


def test_statistics_are_those_of_all_answers_of_the_round(make, train, fake_backend, make_client):
    algorithm = make(fake_backend, local_steps=3, batch_size=4)
    _, ctx = train(algorithm, make_client(train=7))
    message = Message(1, 5, {"readout": algorithm.init().parameters["readout"]})
    assert algorithm.handlers["fit_statistics"](message, ctx).values[0] == 3 * 4 * 4


def test_loss_is_the_mean_over_all_that_was_measured(make, train, score, fake_backend, make_client):
    algorithm, client = make(fake_backend, prompt=NoPrompt(SIZE), readout=Identity, batch_size=50), make_client()
    expected = score(algorithm, client, "train").loss_sum / len(client.train)
    assert train(algorithm, client)[0].loss == pytest.approx(expected)


def test_loss_of_a_round_is_the_mean_over_clients_that_measured_anything(simulate, spied, make_backend, clients):
    lost = {image.tobytes() for image in clients[2].train.batch(slice(None)).inputs}
    backend = make_backend(fails=lambda inputs: np.array([image.tobytes() in lost for image in inputs]))
    simulation = simulate(clients, backend, prompt=NoPrompt(SIZE))
    exchanges = spied(simulation)
    _, report = simulation.round(simulation.algorithm.init())
    first, second, third = (update.loss for update in exchanges[0][1])
    assert np.isnan(third)
    assert report.loss == pytest.approx((first + second) / 2)


def test_failed_queries_are_left_out_of_the_fit(simulate, make_backend, fake_backend, clients):
    lost = {clients[2].train.batch(slice(i, i + 1)).inputs[0].tobytes() for i in (0, 5)}
    backend = make_backend(fails=lambda inputs: np.array([image.tobytes() in lost for image in inputs]))
    left = clients[2].train.take(np.array([i for i in range(12) if i not in (0, 5)]))
    fewer = [*clients[:2], Client("client-002", left, left, left)]
    some, without = (
        simulate(them, model, prompt=NoPrompt(SIZE)).states(1)[-1].parameters["readout"]
        for model, them in ((backend, clients), (fake_backend, fewer))
    )
    assert some.tolist() == without.tolist()


def test_every_step_draws_another_minibatch(make, train, fake_backend, make_client):
    optimizer = partial(RandomSearch, sigma=1e-9, population_size=1)  # images stay what they are
    algorithm = make(fake_backend, optimizer=optimizer, local_steps=6, batch_size=3)
    update, _ = train(algorithm, make_client(train=9))
    assert update.usage.queries == 6 * 3
    assert len({fake_backend.seen[3 * step] for step in range(6)}) > 1


def test_a_client_that_has_asked_nothing_has_nothing_to_fit_to(make, context_of, fake_backend, make_client):
    algorithm = make(fake_backend)
    message = Message(1, 5, {"readout": algorithm.init().parameters["readout"]})
    with pytest.raises(OutOfDateError):
        algorithm.handlers["fit_statistics"](message, context_of(algorithm, make_client()))


def test_one_client_per_round_is_sent_all_parameters(simulate, fake_backend, clients):
    simulation = simulate(clients, fake_backend, clients_per_round=1)
    states = simulation.states(3)
    for state in states:
        assert len(simulation.algorithm.sample(state, simulation.sizes)) == 1
        assert simulation.algorithm.broadcast(state).parameters is state.parameters

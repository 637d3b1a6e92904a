"""What every registered algorithm promises."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.algorithms import Parts
from fedbbpt.objective import Objective
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readout import Head
from fedbbpt.run.options import resolve
from fedbbpt.types import Message, Update, Usage

pytestmark = pytest.mark.parametrize("name", registry.names("algorithms"))


def make(name, backend, prompt=None, optimizer=SpsaGC, seed=5, **wanted):
    """The algorithm with those of the wanted options that it has."""
    prompt = Dct(backend.info.input_size, frequencies=2) if prompt is None else prompt
    objective = Objective(backend, prompt, Head(backend.info, backend.info.classes))
    options = {option: value for option, value in wanted.items() if option in resolve("algorithms", name, {})}
    return registry.load("algorithms", name)(Parts(objective, partial(optimizer), seed), **options)


def same(a, b):
    return a.keys() == b.keys() and all(
        np.array_equal(a[part], b[part]) and a[part].dtype == b[part].dtype for part in a
    )


def one_round(algorithm, clients):
    state = algorithm.init()
    message = algorithm.broadcast(state)
    updates = [algorithm.local(message, client) for client in algorithm.sample(state, clients)]
    return state, updates, algorithm.merge(state, updates)


@pytest.mark.parametrize("limit", [1, 3, 5, 16, 1000])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("batch", [1, 4, 6, 50])
@pytest.mark.parametrize("optimizer", [SpsaGC, SepCma])
def test_plan_is_what_a_round_then_asks(name, make_backend, clients, limit, steps, batch, optimizer):
    backend = make_backend(batch_limit=limit)
    algorithm = make(name, backend, optimizer=optimizer, local_steps=steps, batch_size=batch)
    for client in clients:
        planned = algorithm.plan(client)
        assert not backend.calls
        measured = algorithm.local(algorithm.broadcast(algorithm.init()), client).usage
        assert planned == measured == Usage(sum(backend.calls), len(backend.calls))
        backend.calls.clear()


def test_plan_without_a_prompt_asks_once_for_each_example(name, fake_backend, make_client):
    algorithm = make(name, fake_backend, NoPrompt((8, 8)), local_steps=2, batch_size=50)
    client = make_client(train=7)
    assert algorithm.plan(client) == Usage(14, 2)
    assert algorithm.local(algorithm.broadcast(algorithm.init()), client).usage == Usage(14, 2)


def test_local_sees_the_training_data_of_its_client_only(name, fake_backend, make_client):
    algorithm = make(name, fake_backend, NoPrompt((8, 8)), local_steps=3, batch_size=4)
    client = make_client(train=7)
    algorithm.local(algorithm.broadcast(algorithm.init()), client)
    own = {image.tobytes() for image in client.train.batch(slice(None)).inputs}
    assert fake_backend.seen
    assert set(fake_backend.seen) <= own


def test_validation_and_test_data_do_not_reach_the_update(name, fake_backend, make_client):
    algorithm, client = make(name, fake_backend), make_client(train=7)
    message = algorithm.broadcast(algorithm.init())
    swapped = replace(client, validation=client.test, test=client.validation)
    assert algorithm.local(message, client).to_bytes() == algorithm.local(message, swapped).to_bytes()


def test_same_message_same_bits(name, fake_backend, clients):
    algorithm = make(name, fake_backend, local_steps=2, batch_size=3)
    _, _, state = one_round(algorithm, clients)
    message = algorithm.broadcast(state)
    before = message.to_bytes()
    first = algorithm.local(message, clients[1])
    algorithm.local(message, clients[0])  # what others do in between is no matter
    assert algorithm.local(message, clients[1]).to_bytes() == first.to_bytes()
    assert message.to_bytes() == before


def test_clients_go_their_own_ways(name, fake_backend, clients):
    algorithm = make(name, fake_backend)
    message = algorithm.broadcast(algorithm.init())
    twin = replace(clients[0], id="another")
    assert not same(algorithm.local(message, clients[0]).change, algorithm.local(message, twin).change)


def test_rounds_draw_anew(name, fake_backend, clients):
    algorithm = make(name, fake_backend)
    message = algorithm.broadcast(algorithm.init())
    later = replace(message, round=message.round + 1)
    assert not same(algorithm.local(message, clients[0]).change, algorithm.local(later, clients[0]).change)


def test_a_round_over_the_wire_gives_the_same_bits(name, fake_backend, clients):
    algorithm = make(name, fake_backend, local_steps=2)
    state, updates, merged = one_round(algorithm, clients)
    received = Message.from_bytes(algorithm.broadcast(state).to_bytes())
    wired = [Update.from_bytes(algorithm.local(received, client).to_bytes()) for client in clients]
    assert [update.to_bytes() for update in wired] == [update.to_bytes() for update in updates]
    assert same(algorithm.merge(state, wired).parameters, merged.parameters)


def test_merge_counts_the_round_and_leaves_the_old_state(name, fake_backend, clients):
    algorithm = make(name, fake_backend)
    state, _, merged = one_round(algorithm, clients)
    assert (state.round, merged.round) == (0, 1)
    assert same(state.parameters, algorithm.init().parameters)
    for part, old in state.parameters.items():
        assert merged.parameters[part].shape == old.shape
        assert merged.parameters[part].dtype == np.float32
    assert not same(merged.parameters, state.parameters)


@pytest.mark.parametrize(("fraction", "count"), [(1.0, 20), (0.5, 10), (0.29, 6), (0.001, 1)])
def test_sample_draws_the_fraction_in_order(name, fake_backend, make_client, fraction, count):
    everybody = [make_client(f"client-{i:03d}", 1) for i in range(20)]
    algorithm = make(name, fake_backend, fraction=fraction)
    chosen = [client.id for client in algorithm.sample(algorithm.init(), everybody)]
    assert len(set(chosen)) == len(chosen) == count
    assert chosen == sorted(chosen)
    assert [client.id for client in algorithm.sample(algorithm.init(), everybody)] == chosen


def test_sample_changes_with_round_and_seed_and_reaches_everybody(name, fake_backend, make_client):
    everybody = [make_client(f"client-{i:03d}", 1) for i in range(20)]
    drawn = {}
    for seed in (1, 2):
        algorithm = make(name, fake_backend, seed=seed, fraction=0.25)
        states = [replace(algorithm.init(), round=r) for r in range(40)]
        drawn[seed] = [tuple(client.id for client in algorithm.sample(state, everybody)) for state in states]
    assert len(set(drawn[1])) > 30
    assert drawn[1] != drawn[2]
    assert {client for chosen in drawn[1] for client in chosen} == {client.id for client in everybody}


def test_some_failed_queries_are_survived(name, make_backend, clients):
    backend = make_backend(fails=lambda inputs: inputs[:, 0].mean((1, 2)) > inputs[:, 1].mean((1, 2)))
    algorithm = make(name, backend, local_steps=3)
    _, updates, merged = one_round(algorithm, clients)
    assert any(np.isfinite(update.loss) for update in updates)
    assert all(np.isfinite(vector).all() for vector in merged.parameters.values())


def test_a_silent_model_moves_nothing(name, make_backend, clients):
    algorithm = make(name, make_backend(fails=lambda inputs: np.ones(len(inputs), bool)), local_steps=2)
    state, updates, merged = one_round(algorithm, clients)
    assert all(np.isnan(update.loss) for update in updates)
    for part, after in merged.parameters.items():  # a part may be a client's own: client/part
        assert np.array_equal(after, state.parameters[part.rpartition("/")[2]])


def test_training_lowers_the_validation_loss(name, fake_backend, clients):
    algorithm = make(name, fake_backend, local_steps=2)
    state = algorithm.init()

    def loss(state):
        return sum(algorithm.score("validation", algorithm.broadcast(state), client).loss_sum for client in clients)

    before = loss(state)
    for _ in range(10):
        message = algorithm.broadcast(state)
        state = algorithm.merge(state, [algorithm.local(message, client) for client in clients])
    assert loss(state) < before

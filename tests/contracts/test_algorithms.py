"""What every registered algorithm promises."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.algorithms import Parts
from fedbbpt.config.components import resolve
from fedbbpt.engines.serial import Serial
from fedbbpt.errors import BackendError
from fedbbpt.objective import Objective
from fedbbpt.optim.random_search import RandomSearch
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run.client_pool import CountedExchange, SoundExchange
from fedbbpt.run.evaluate import evaluate
from fedbbpt.types import Message, Sums, Update, Usage

# what cuts the model instead of querying it is tested by itself
QUERYING = [n for n in registry.names("algorithms") if not getattr(registry.load("algorithms", n), "white_box", False)]
pytestmark = pytest.mark.parametrize("name", QUERYING)


def make(name, backend, optimizer=SpsaGC, seed=5, **wanted):
    """The algorithm with those of the wanted options that it has."""
    objective = Objective(
        backend, Dct(backend.info.input_size, frequencies=2), LinearReadout(backend.info, backend.info.classes)
    )
    options = {option: value for option, value in wanted.items() if option in resolve("algorithms", name, {}).options}
    optimizer = SepCma if name == "fedbpt" else optimizer  # takes evolution strategies only
    return registry.load("algorithms", name)(Parts(objective, partial(optimizer), seed), **options)


def same(a, b):
    return a.keys() == b.keys() and all(
        np.array_equal(a[part], b[part], equal_nan=True) and a[part].dtype == b[part].dtype for part in a
    )


class Wire:
    """An exchange on which only bytes travel; keeps every message and reply."""

    def __init__(self, clients):
        self.clients, self.messages, self.replies = clients, [], []

    def __call__(self, work, message):
        self.messages.append(message.to_bytes())
        replies = [work(Message.from_bytes(message.to_bytes()), client) for client in self.clients]
        replies = [type(reply).from_bytes(reply.to_bytes()) for reply in replies]
        self.replies.append([reply.to_bytes() for reply in replies])
        return replies


def rounds(algorithm, clients, count, state=None):
    """The states after each of the rounds, and what was asked for."""
    states, usage = [algorithm.init() if state is None else state], Usage()
    for _ in range(count):
        exchange = CountedExchange(Serial(), algorithm.sample(states[-1], clients))
        after, _ = algorithm.round(states[-1], exchange)
        states.append(after)
        usage += exchange.usage
    return states, usage


def validation_loss(algorithm, state, clients):
    return sum(algorithm.score("validation", algorithm.broadcast(state), client).loss_sum for client in clients)


@pytest.mark.parametrize("limit", [3, 16, 1000])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("batch", [4, 50])
@pytest.mark.parametrize("optimizer", [SpsaGC, RandomSearch])
def test_plan_is_what_the_rounds_then_ask(name, make_backend, clients, limit, steps, batch, optimizer):
    backend = make_backend(max_batch=limit)
    algorithm = make(name, backend, optimizer=optimizer, local_steps=steps, batch_size=batch)
    planned = sum((algorithm.plan(client, round_) for round_ in (1, 2) for client in clients), Usage())
    assert not backend.calls
    _, measured = rounds(algorithm, clients, 2)
    assert planned == measured == Usage(sum(backend.calls), len(backend.calls))


def test_score_asks_as_often_as_it_says(name, fake_backend, clients):
    algorithm = make(name, fake_backend)
    for state in rounds(algorithm, clients, 5)[0]:
        score = algorithm.score("test", algorithm.broadcast(state), clients[0])
        assert score.usage.queries == algorithm.num_prompts(state.round) * len(clients[0].test)


def test_validation_and_test_data_do_not_reach_the_state(name, fake_backend, clients):
    algorithm = make(name, fake_backend)
    swapped = [replace(client, validation=client.test, test=client.validation) for client in clients]
    (*_, one), (*_, other) = (rounds(algorithm, them, 2)[0] for them in (clients, swapped))
    assert same(one.parameters, other.parameters)


def test_a_clients_replies_depend_on_its_own_data_only(name, fake_backend, clients):
    wires = []
    for third in (clients[2], replace(clients[2], train=clients[1].train)):
        algorithm, wire = make(name, fake_backend), Wire([*clients[:2], third])
        algorithm.round(algorithm.init(), wire)
        wires.append(wire)
    first = next(i for i in range(9) if wires[0].replies[i] != wires[1].replies[i])
    for step in range(first + 1):  # before what the server tells may differ
        assert wires[0].messages[step] == wires[1].messages[step]
        assert wires[0].replies[step][:2] == wires[1].replies[step][:2]


def test_same_state_same_bits(name, fake_backend, clients):
    states, _ = rounds(make(name, fake_backend, local_steps=2, batch_size=3), clients, 3)
    again, _ = rounds(make(name, fake_backend, local_steps=2, batch_size=3), clients, 3)
    assert all(same(a.parameters, b.parameters) for a, b in zip(states, again, strict=True))


def test_a_fresh_algorithm_goes_on_from_a_state(name, fake_backend, clients):
    states, _ = rounds(make(name, fake_backend), clients, 6)
    resumed, _ = rounds(make(name, fake_backend), clients, 3, states[3])
    assert same(resumed[-1].parameters, states[-1].parameters)
    assert same(resumed[-1].memory, states[-1].memory)


def test_a_round_over_the_wire_gives_the_same_bits(name, fake_backend, clients):
    algorithm = make(name, fake_backend, local_steps=2)
    (*_, state), _ = rounds(algorithm, clients, 4)
    spoken, loss = algorithm.round(state, CountedExchange(Serial(), clients))
    wired, wired_loss = algorithm.round(state, Wire(clients))
    assert same(spoken.parameters, wired.parameters)
    assert loss == wired_loss


def test_another_seed_goes_another_way(name, fake_backend, clients):
    (*_, one), (*_, other) = (rounds(make(name, fake_backend, seed=seed), clients, 2)[0] for seed in (1, 2))
    assert not same(one.parameters, other.parameters)


def test_rounds_draw_anew(name, fake_backend, clients):
    algorithm = make(name, fake_backend)
    start = algorithm.init()
    later, _ = algorithm.round(replace(start, round=1), CountedExchange(Serial(), clients))
    now, _ = algorithm.round(start, CountedExchange(Serial(), clients))
    assert not same(later.parameters, now.parameters)


def test_a_round_counts_and_leaves_the_old_state(name, fake_backend, clients):
    algorithm = make(name, fake_backend)
    (start, merged), _ = rounds(algorithm, clients, 1)
    assert (start.round, merged.round) == (0, 1)
    assert same(start.parameters, algorithm.init().parameters)
    assert not same(merged.parameters, start.parameters)
    for state in (start, merged):
        for array in (*state.parameters.values(), *state.memory.values()):
            assert array.dtype == np.float32


@pytest.mark.parametrize(("fraction", "count"), [(1.0, 20), (0.5, 10), (0.29, 6), (0.001, 1)])
def test_sample_draws_the_fraction_in_order(name, fake_backend, make_client, fraction, count):
    everybody = [make_client(f"client-{i:03d}", 1) for i in range(20)]
    algorithm = make(name, fake_backend, participation=fraction)
    if "participation" not in resolve("algorithms", name, {}).options:
        count = 20
    chosen = [client.id for client in algorithm.sample(algorithm.init(), everybody)]
    assert len(set(chosen)) == len(chosen) == count
    assert chosen == sorted(chosen)
    assert [client.id for client in algorithm.sample(algorithm.init(), everybody)] == chosen


def test_some_failed_queries_are_survived(name, make_backend, clients):
    backend = make_backend(fails=lambda inputs: inputs[:, 0].mean((1, 2)) > inputs[:, 1].mean((1, 2)))
    (start, *_, merged), _ = rounds(make(name, backend, local_steps=3), clients, 5)
    assert not same(merged.parameters, start.parameters)
    assert all(np.isfinite(vector).all() for part, vector in merged.parameters.items() if "calibration" not in part)


def test_a_silent_model_teaches_nothing(name, make_backend, clients):
    algorithm = make(name, make_backend(fails=lambda inputs: np.ones(len(inputs), bool)), local_steps=2)
    start = algorithm.init()
    merged, loss = algorithm.round(start, CountedExchange(Serial(), clients))
    assert np.isnan(loss)
    for part, after in merged.parameters.items():  # a part may be a client's own: client/part
        if part.rpartition("/")[2] == "readout":
            assert not after.any()


def test_training_lowers_the_validation_loss(name, fake_backend, clients):
    algorithm = make(name, fake_backend, local_steps=2)
    (start, *_, trained), _ = rounds(algorithm, clients, 10)
    assert validation_loss(algorithm, trained, clients) < validation_loss(algorithm, start, clients)


class Poisoned(CountedExchange):
    """An exchange on which something happens to the replies of some clients."""

    def __init__(self, clients, victims, poison):
        super().__init__(Serial(), clients)
        self.victims, self.poison = victims, poison

    def __call__(self, work, message):
        replies = super().__call__(work, message)
        return [self.poison(r) if c.id in self.victims else r for c, r in zip(self.present, replies, strict=True)]


def _arrays(change):
    def poison(reply):
        if isinstance(reply, Sums):
            return Sums(change(reply.values))
        return replace(reply, payload={part: change(values) for part, values in reply.payload.items()})

    return poison


def _update(**parts):
    return lambda reply: replace(reply, **parts) if isinstance(reply, Update) else reply


POISONS = {
    "NaN": _arrays(lambda values: np.full_like(values, np.nan)),
    "infinity": _arrays(lambda values: np.full_like(values, np.inf)),
    "another shape": _arrays(lambda values: np.zeros((*values.shape, 2), values.dtype)),
    "another type": _arrays(lambda values: values.astype(np.int64)),
    "text": _arrays(lambda values: "text"),
    "other parts": _update(payload={"more": np.zeros(2, np.float32)}),
    "another name": _update(client="nobody"),
    "a negative weight": _update(weight=-5),
    "nothing": lambda reply: None,
}


def test_nothing_that_an_honest_client_sends_is_left_out(name, fake_backend, clients):
    (_, state), _ = rounds(make(name, fake_backend), clients, 1)
    algorithm = make(name, fake_backend)
    sound = SoundExchange(CountedExchange(Serial(), clients), algorithm)
    checked, _ = algorithm.round(algorithm.init(), sound)
    assert not sound.out
    assert same(state.parameters, checked.parameters)


@pytest.mark.parametrize("poison", POISONS)
def test_what_cannot_be_used_is_as_if_its_client_had_not_been_there(name, fake_backend, clients, poison):
    algorithm, other = make(name, fake_backend), make(name, fake_backend)
    victim = clients[0].id
    sound = SoundExchange(Poisoned(clients, {victim}, POISONS[poison]), algorithm)
    state, loss = algorithm.round(algorithm.init(), sound)
    without, its = other.round(other.init(), CountedExchange(Serial(), clients[1:]))
    assert sound.out.keys() == {victim}
    assert same(state.parameters, without.parameters)
    assert loss == its


@pytest.mark.parametrize("poison", POISONS)
def test_if_nobody_sends_what_can_be_used_the_clients_are_named(name, fake_backend, clients, poison):
    algorithm = make(name, fake_backend)
    sound = SoundExchange(Poisoned(clients, {client.id for client in clients}, POISONS[poison]), algorithm)
    with pytest.raises(BackendError, match=rf"no client of round 1 .*{clients[0].id} "):
        algorithm.round(algorithm.init(), sound)


def test_scores_that_cannot_be_used_are_left_out(name, fake_backend, clients):
    algorithm, honest = make(name, fake_backend), make(name, fake_backend)
    score, first = algorithm.score, clients[0].id
    wrong = {first: {"loss_sum": float("nan")}, clients[1].id: {"confusion": np.zeros((9, 9), np.int64)}}
    algorithm.score = lambda split, message, client: replace(score(split, message, client), **wrong.get(client.id, {}))
    algorithm.blank = lambda work, message: honest.blank(honest.score, message)
    result = evaluate(algorithm, algorithm.init(), clients, "test", Serial())
    assert result.out.keys() == wrong.keys()
    assert [one.client for one in result.scores] == [client.id for client in clients[2:]]

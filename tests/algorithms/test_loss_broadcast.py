"""What clients are told of a round: losses from which each makes the server's new parameters, bit for bit."""

from functools import partial

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.algorithms import news
from fedbbpt.engines.serial import Serial
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.padding import Padding
from fedbbpt.run.client_pool import CountedExchange
from fedbbpt.types import Message, Update, Usage


class Far:
    """An exchange whose clients have an algorithm of their own, and nothing from the server but bytes."""

    def __init__(self, server, client_side, clients):
        self._twins = {server.local: client_side.local, server.sums: client_side.sums}
        self._clients = clients
        self.told = []

    def __call__(self, work, message):
        self.told.append(Message.from_bytes(message.to_bytes()))
        replies = [self._twins[work](self.told[-1], client) for client in self._clients]
        return [type(reply).from_bytes(reply.to_bytes()) for reply in replies]


def fails(inputs):
    return inputs[:, 0].mean((1, 2)) > inputs[:, 1].mean((1, 2))


def near(algorithm, clients, count, *, looks=True):
    """The states of a run in one process; after each round, `looks` asks clients to score."""
    states = [algorithm.init()]
    for _ in range(count):
        if looks:
            algorithm.score("validation", algorithm.broadcast(states[-1]), clients[0])
        states.append(algorithm.round(states[-1], CountedExchange(Serial(), clients))[0])
    return states


@pytest.fixture
def wide(make, make_backend):
    """`wide(**options)`: a method whose prompt has far more numbers than clients have losses."""

    def build(**options):
        prompt = Padding((8, 8), width=0.5)
        return make(make_backend(fails=fails), prompt=prompt, **{"local_steps": 2, "batch_size": 3} | options)

    return build


@pytest.mark.parametrize("server", ["mean", "momentum", "adam"])
@pytest.mark.parametrize("optimizer", [name for name in registry.names("optimizers") if name not in ("cma", "still")])
def test_clients_elsewhere_find_the_same_bits_from_the_news(wide, same, clients, optimizer, server):
    options = {"optimizer": registry.load("optimizers", optimizer), "server": server}
    together = near(wide(**options), clients, 4)
    one = wide(**options)
    line = Far(one, wide(**options), clients)
    state = one.init()
    for expected in together[1:]:
        state = one.round(state, line)[0]
        assert same(state.parameters, expected.parameters)
        assert same(state.memory, expected.memory)
    assert sum("prompt" in message.parameters for message in line.told) == 1, "only the first message has them whole"


def test_clients_follow_when_the_server_goes_back_and_halves_its_steps(wide, same, clients):
    options = {"optimizer": partial(SpsaGC, a=1e300)}
    one = wide(**options)
    line = Far(one, wide(**options), clients)
    states = [one.init()]
    for expected in near(wide(**options), clients, 6)[1:]:
        states.append(one.round(states[-1], line)[0])
        assert same(states[-1].parameters, expected.parameters)
    assert [float(state.parameters["calibration"][0]) for state in states] == [0.5**i for i in range(len(states))]


@pytest.mark.parametrize("looks", [True, False], ids=["scored", "unscored"])
def test_a_run_goes_on_from_any_round_with_the_same_bits(wide, same, clients, looks):
    states = near(wide(), clients, 4, looks=looks)
    for state in states[:-1]:
        new = wide().round(state, CountedExchange(Serial(), clients))[0]
        assert same(new.parameters, states[state.round + 1].parameters)
        assert same(new.memory, states[state.round + 1].memory)


def test_what_goes_down_does_not_depend_on_the_dimension(make, fake_backend, clients):
    sizes = []
    for width in (0.25, 0.5):
        prompt = Padding((8, 8), width=width)
        algorithm = make(fake_backend, prompt=prompt, local_steps=1, batch_size=2)
        state = near(algorithm, clients, 2)[-1]
        message = algorithm.broadcast(state)
        sizes.append((prompt.dim, len(message.to_bytes()), news.size(state.memory)))
    assert sizes[0][0] != sizes[1][0]
    assert sizes[0][1] == sizes[1][1]


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        (Dct((8, 8), frequencies=1), {}),
        (Padding((8, 8), width=0.5), {"participation": 0.5}),
        (Padding((8, 8), width=0.5), {"upload": "parameters"}),
    ],
    ids=["few numbers", "some clients", "whole uploads"],
)
def test_parameters_go_down_whole_where_news_would_not_do(make, fake_backend, clients, prompt, options):
    algorithm = make(fake_backend, prompt=prompt, **options)
    state = near(algorithm, clients, 2)[-1]
    assert algorithm.broadcast(state).parameters is state.parameters


def test_a_client_that_missed_a_round_does_not_go_on_from_what_it_has(wide, clients):
    algorithm = wide()
    states = near(algorithm, clients, 3)
    with pytest.raises(RuntimeError, match="missed a round"):
        wide().local(algorithm.broadcast(states[-1]), clients[0])


def test_news_hold_all_that_a_merge_reads():
    updates = [
        Update("client-000", {"losses": np.array([[0.5, np.nan]], np.float16)}, 3, 0.1234567, Usage(4, 2), 0.25),
        Update("ä", {"losses": np.array([[1, 2]], np.float16)}, 5, float("nan"), Usage(), float("nan")),
    ]
    back = news.updates_of(news.gathered(updates))
    for update, again in zip(updates, back, strict=True):
        assert (again.client, again.weight) == (update.client, update.weight)
        np.testing.assert_array_equal([again.loss, again.spread], [update.loss, update.spread])
        assert again.payload["losses"].tobytes() == update.payload["losses"].tobytes()

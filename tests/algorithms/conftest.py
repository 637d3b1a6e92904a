"""An algorithm on the toy backend."""

from dataclasses import replace
from functools import partial

import pytest

from fedbbpt.algorithms import AlgorithmContext, ClientContext
from fedbbpt.algorithms.ensemble import Ensemble
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.objective import Objective
from fedbbpt.optim import Space
from fedbbpt.optim.random_search import RandomSearch
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.testing import Simulation


def _make(
    backend,
    kind=FedAvg,
    *,
    prompt=None,
    readout=LinearReadout,
    optimizer=SpsaGC,
    objective=Objective,
    classes=None,
    seed=5,
    is_evaluated=lambda _: True,
    **options,
):
    prompt = prompt or Dct(backend.info.input_size, frequencies=2)

    def started(start):
        return optimizer(replace(start, space=Space(prompt.choices or 2)))

    model = objective(backend.info, prompt, readout(backend.info, classes or backend.info.classes), backend)
    return kind(AlgorithmContext(model, started, seed, is_evaluated=is_evaluated), **options)


@pytest.fixture
def make():
    """`make(backend, FedAvg, prompt=…, readout=LinearReadout, optimizer=SpsaGC, …, **options)`: an algorithm."""
    return _make


@pytest.fixture
def simulate():
    """`simulate(clients, backend, FedAvg, rebuild=, engine=, …)`: rounds of what `make` builds, over clients."""

    def start(clients, backend, *kind, rebuild=False, engine=None, **options):
        build = partial(_make, backend, *kind, **options)
        return Simulation(build, build().model, clients, rebuild=rebuild, engine=engine)

    return start


@pytest.fixture
def ensemble(simulate):
    """`ensemble(clients, backend, population, **options)`: rounds of an ensemble over random search."""

    def start(clients, backend, population=5, **options):
        optimizer = partial(RandomSearch, sigma=2.0, population_size=population)
        return simulate(clients, backend, Ensemble, optimizer=optimizer, **options)

    return start


@pytest.fixture
def context_of():
    """`context_of(algorithm, client)`: all that a client's handlers work with, before the first round."""
    return lambda algorithm, client: ClientContext(client, algorithm.model)


@pytest.fixture
def train(context_of):
    """`train(algorithm, client, state)`: a client's reply in a round, and what its handlers work with afterwards."""

    def call(algorithm, client, state=None):
        ctx = context_of(algorithm, client)
        return algorithm.handlers["train"](algorithm.broadcast(state or algorithm.init()), ctx), ctx

    return call


@pytest.fixture
def score(context_of):
    """`score(algorithm, client, subset, state)`: the score of the parameters, sent whole."""

    def call(algorithm, client, subset="test", state=None):
        message = replace(algorithm.broadcast(state or algorithm.init()), subset=subset)
        return algorithm.handlers["evaluate"](message, context_of(algorithm, client))

    return call


@pytest.fixture
def spied():
    """`spied(simulation)`: the (call, replies) of all later exchanges, as a list that grows."""

    def watch(simulation):
        exchanges, send = [], simulation.engine.send

        def recorded(call, clients, on_dropped=None):
            replies = list(send(call, clients, on_dropped))
            exchanges.append((call, replies))
            return iter(replies)

        simulation.engine.send = recorded
        return exchanges

    return watch

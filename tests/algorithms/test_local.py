"""Clients that share nothing."""

from functools import partial

import numpy as np

from fedbbpt.algorithms import Parts
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.local import Local
from fedbbpt.objective import Objective
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.dct import Dct
from fedbbpt.readout import Head


def make(kind, backend, **options):
    objective = Objective(
        backend, Dct(backend.info.input_size, frequencies=2), Head(backend.info, backend.info.classes)
    )
    return kind(Parts(objective, partial(SpsaGC), 5), **options)


def trained(algorithm, clients, rounds=3):
    state = algorithm.init()
    for _ in range(rounds):
        message = algorithm.broadcast(state)
        chosen = algorithm.sample(state, clients)
        state = algorithm.merge(state, [algorithm.local(message, client) for client in chosen])
    return state


def test_each_client_gets_where_it_gets_alone(fake_backend, clients):
    together = trained(make(Local, fake_backend), clients)
    scored = make(Local, fake_backend)
    for client in clients:
        alone = trained(make(FedAvg, fake_backend), [client])
        for part, expected in alone.parameters.items():
            np.testing.assert_array_equal(together.parameters[f"{client.id}/{part}"], expected)
        ours = scored.score("test", scored.broadcast(together), client)
        averaging = make(FedAvg, fake_backend)
        theirs = averaging.score("test", averaging.broadcast(alone), client)
        assert ours.loss_sum == theirs.loss_sum
        assert np.array_equal(ours.confusion, theirs.confusion)


def test_a_client_that_was_never_chosen_keeps_the_start(fake_backend, clients):
    algorithm = make(Local, fake_backend, fraction=0.3)
    state = trained(algorithm, clients, rounds=1)
    (chosen,) = {name.partition("/")[0] for name in state.parameters if "/" in name}
    other = next(client for client in clients if client.id != chosen)
    start = algorithm.init()
    before, after = (algorithm.score("test", algorithm.broadcast(s), other) for s in (start, state))
    assert np.array_equal(before.confusion, after.confusion)
    assert before.loss_sum == after.loss_sum

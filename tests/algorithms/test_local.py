"""Clients that share nothing."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.local import Local
from fedbbpt.optim.spsa import SpsaGC


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"server_optimizer": "momentum"},
        {"server_optimizer": "adam", "server_lr": 0.3},
        {"optimizer": partial(SpsaGC, a=8.0)},  # steps so long that some rounds are taken back
        {"optimizer": partial(SpsaGC, a=8.0), "server_optimizer": "momentum"},
        {"upload": "parameters", "local_steps": 2, "batch_size": 3},
    ],
    ids=["defaults", "momentum", "adam", "divergence", "divergence-momentum", "parameters"],
)
def test_each_client_gets_where_it_gets_alone(make, rounds, fake_backend, clients, options):
    (*_, together), _ = rounds(make(fake_backend, Local, **options), clients, 5)
    scored = make(fake_backend, Local, **options)
    for client in clients:
        averaging = make(fake_backend, FedAvg, **options)
        (*_, alone), _ = rounds(averaging, [client], 5)
        for part, expected in alone.parameters.items():
            np.testing.assert_array_equal(together.parameters[f"{client.id}/{part}"], expected)
        kept = [name.split("/")[2] for name in together.parameters if name.startswith(f"{client.id}/memory/")]
        memory = {part: values for part, values in alone.memory.items() if not part.startswith("news/")}
        assert set(kept) == set(memory)
        for part, expected in memory.items():
            np.testing.assert_array_equal(together.parameters[f"{client.id}/memory/{part}"], expected)
        ours = scored.score("test", scored.broadcast(together), client)
        theirs = averaging.score("test", averaging.broadcast(alone), client)
        assert ours.loss_sum == theirs.loss_sum
        assert np.array_equal(ours.confusion, theirs.confusion)


def test_one_clients_divergence_is_no_others(make, rounds, fake_backend, clients):
    algorithm = make(fake_backend, Local, optimizer=partial(SpsaGC, a=8.0))
    (*_, state), _ = rounds(algorithm, clients, 5)
    scales = [float(state.parameters[f"{client.id}/calibration"][0]) for client in clients]
    assert len(set(scales)) > 1


def test_a_client_that_was_never_chosen_keeps_the_start(make, rounds, fake_backend, clients):
    algorithm = make(fake_backend, Local, participation=0.3)
    (start, state), _ = rounds(algorithm, clients, 1)
    (chosen,) = {name.partition("/")[0] for name in state.parameters if "/" in name}
    other = next(client for client in clients if client.id != chosen)
    before, after = (algorithm.score("test", algorithm.broadcast(s), other) for s in (start, state))
    assert np.array_equal(before.confusion, after.confusion)
    assert before.loss_sum == after.loss_sum


def test_a_client_that_is_not_chosen_keeps_what_it_has(make, rounds, fake_backend, clients):
    algorithm = make(fake_backend, Local, participation=0.3)
    states, _ = rounds(algorithm, clients, 6)
    for before, after in pairwise(states):
        changed = {
            name.partition("/")[0]
            for name, values in after.parameters.items()
            if not np.array_equal(values, before.parameters.get(name, np.nan), equal_nan=True)
        }
        assert len(changed) == 1
    assert len({name.partition("/")[0] for name in states[-1].parameters if "/" in name}) > 1


def test_nothing_is_exchanged_for_a_readout(make, fake_backend, clients):
    asked = []

    def exchange(work, message):
        asked.append(work)
        return [work(message, client) for client in clients]

    algorithm = make(fake_backend, Local)
    algorithm.round(algorithm.init(), exchange)
    assert asked == [algorithm.local]

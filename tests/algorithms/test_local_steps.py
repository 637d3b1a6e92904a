"""What an optimizer is told of the federation, and how much a step asks."""

import pytest

from fedbbpt.algorithms import AlgorithmContext
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.local import Local
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.testing import Toy


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        (FedAvg, {}, 10),
        (FedAvg, {"participation": 0.5}, 5),
        (FedAvg, {"clients_per_round": 1}, 1),
        (Local, {}, 1),  # each for itself
    ],
)
def test_optimizers_know_how_many_clients_take_part(kind, options, expected):
    seen = []

    def optimizer(start):
        seen.append(start.clients)
        return SpsaGC(start)

    toy = Toy()
    algorithm = kind(AlgorithmContext(toy.model, optimizer, 5, toy.backend, clients=10), **options)
    algorithm.init()
    assert set(seen) == {expected}


@pytest.mark.parametrize(("readout", "size"), [(Identity, 32), (LinearReadout, 128)])
def test_minibatches_are_larger_where_the_readout_is_fitted_to_their_answers(
    make, train, fake_backend, make_client, readout, size
):
    algorithm = make(fake_backend, readout=readout)
    update, _ = train(algorithm, make_client(train=200))
    assert update.usage.queries == 4 * size

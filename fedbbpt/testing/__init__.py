"""Contracts of components, for your own package's tests.

Each `check_…` takes a component and raises a `ContractError` that names the broken promise:

    from fedbbpt.testing import Toy, check_algorithm

    def test_my_algorithm():
        check_algorithm(MyAlgorithm, Toy())
"""

from fedbbpt.testing.algorithms import check_algorithm
from fedbbpt.testing.backends import check_backend
from fedbbpt.testing.engines import check_engine
from fedbbpt.testing.expect import ContractError
from fedbbpt.testing.optimizers import check_optimizer
from fedbbpt.testing.partitionable import PartitionableToy
from fedbbpt.testing.prompts import check_prompt
from fedbbpt.testing.queries import toy_provider
from fedbbpt.testing.readouts import check_readout
from fedbbpt.testing.simulation import Rebuilding, Simulation
from fedbbpt.testing.tasks import check_task
from fedbbpt.testing.toy import Toy, ToyBackend, toy_client

__all__ = [
    "ContractError",
    "PartitionableToy",
    "Rebuilding",
    "Simulation",
    "Toy",
    "ToyBackend",
    "check_algorithm",
    "check_backend",
    "check_engine",
    "check_optimizer",
    "check_prompt",
    "check_readout",
    "check_task",
    "toy_client",
    "toy_provider",
]

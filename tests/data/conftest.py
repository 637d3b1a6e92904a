"""Images that hold their own number, and their partition over clients: every example can be followed."""

from dataclasses import fields

import numpy as np
import pytest

from fedbbpt.data import TaskData
from fedbbpt.data.partition import PartitionScheme, label_counts, partition_clients
from fedbbpt.types import Dataset

CLASSES = 5
SCHEME_OPTIONS = {field.name for field in fields(PartitionScheme)}
DEFAULTS = {"clients": 6, "shots_per_class": 40, "validation_shots_per_class": 10, "seed": 1}


def _numbered(labels, first=0):
    numbers = np.arange(first, first + len(labels))
    pixels = np.stack([numbers // 256, numbers % 256, np.zeros_like(numbers)], 1)
    return Dataset(pixels[:, :, None, None].astype(np.uint8), np.array(labels, np.int64))


@pytest.fixture(scope="session")
def numbered():
    """`numbered(labels, first)`: images of one pixel that hold their own number, counted from `first`."""
    return _numbered


@pytest.fixture(scope="session")
def numbers():
    """`numbers(data)`: the numbers that the images hold."""
    return lambda data: (data.inputs[:, 0, 0, 0].astype(int) * 256 + data.inputs[:, 1, 0, 0]).tolist()


@pytest.fixture(scope="session")
def pool():
    """A task's data: 100 training and 80 test examples of each of 5 classes."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(CLASSES), 100))
    return TaskData(_numbered(labels), _numbered(np.arange(400) % CLASSES, 1000))


@pytest.fixture(scope="session")
def partition(pool):
    """`partition(data=pool, **options)`: the clients; options of the scheme and of `partition_clients`."""

    def clients_of(data=pool, **options):
        scheme = {key: options.pop(key) for key in SCHEME_OPTIONS & options.keys()}
        scheme = PartitionScheme(**{"dirichlet_alpha": 0.5} | scheme)
        return partition_clients(data, scheme=scheme, **DEFAULTS | options)

    return clients_of


@pytest.fixture(scope="session")
def counts():
    """`counts(clients, subset)`: examples (clients, classes)."""
    return lambda clients, subset: np.array([label_counts(getattr(client, subset), CLASSES) for client in clients])

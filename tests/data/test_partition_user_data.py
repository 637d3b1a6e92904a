"""A partition of a user's own data, of which there may be little: the number of clients follows from it."""

import dataclasses

import numpy as np
import pytest

from fedbbpt.data import TaskData


@pytest.fixture
def user_data(numbered):
    """`user_data(classes, examples)`: so many examples of each class."""
    return lambda classes, examples: TaskData(
        numbered(np.arange(classes * examples) % classes), numbered(np.arange(classes), 1000), user_supplied=True
    )


@pytest.fixture
def partition(partition):
    """`partition(data, **options)`: clients, as many as suit the data unless `clients` says how many."""
    options = {"clients": None, "dirichlet_alpha": 0.3, "shots_per_class": 16, "validation_shots_per_class": 4}
    return lambda data, **changes: partition(data, **options | changes)


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize(("classes", "examples", "most"), [(2, 10, 2), (3, 28, 6), (5, 100, 10), (10, 100, 10)])
def test_as_many_clients_as_get_enough_examples(partition, user_data, classes, examples, most, seed):
    clients = partition(user_data(classes, examples), seed=seed)
    sizes = [len(client.train) for client in clients]
    assert len(clients) <= most
    assert min(sizes) >= 4
    assert sum(sizes) >= 8 * len(clients)


def test_very_little_is_for_one_client(partition, user_data):
    assert len(partition(user_data(2, 2))) == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_same_number_gives_the_same_partition(partition, user_data, numbers, seed):
    data = user_data(3, 28)
    chosen = partition(data, seed=seed)
    given = partition(data, seed=seed, clients=len(chosen))
    assert [numbers(client.train) for client in given] == [numbers(client.train) for client in chosen]
    assert [numbers(client.test) for client in given] == [numbers(client.test) for client in chosen]


def test_a_given_number_of_clients_is_used(partition, user_data):
    clients = partition(user_data(2, 20), clients=20)
    assert len(clients) == 20
    assert min(len(client.train) for client in clients) == 1


def test_every_domain_has_a_client(partition, user_data, numbered):
    train, test = (
        dataclasses.replace(data, domains=np.arange(len(data)) % 12)
        for data in (user_data(2, 90).train, numbered([0, 1] * 12))
    )
    assert len(partition(TaskData(train, test, user_supplied=True), kind="domain")) == 12


def test_public_data_have_ten_clients(partition, pool):
    assert len(partition(pool, shots_per_class=2)) == 10


def test_given_validation_data_are_used_as_they_are(partition, user_data, numbered, numbers):
    data = dataclasses.replace(user_data(2, 40), validation=numbered(np.arange(30) % 2, 500))
    clients = partition(data)
    validation = [number for client in clients for number in numbers(client.validation)]
    assert len(validation) == 8
    assert all(500 <= number < 530 for number in validation)
    assert sum(len(client.train) for client in clients) == 32

"""How many examples each client gets, of which classes; drawn from a Dirichlet distribution."""

import dataclasses
import math

import numpy as np
import pytest

from fedbbpt.data import TaskData
from fedbbpt.data.partition import label_counts
from fedbbpt.errors import ConfigError

SUBSETS = ("train", "validation", "test")


@pytest.mark.parametrize("dirichlet_alpha", [0.05, 1.0, math.inf])
def test_all_test_data_is_used_once(partition, pool, numbers, dirichlet_alpha):
    used = [number for client in partition(dirichlet_alpha=dirichlet_alpha) for number in numbers(client.test)]
    assert sorted(used) == sorted(numbers(pool.test))


@pytest.mark.parametrize("dirichlet_alpha", [0.05, 1.0, math.inf])
@pytest.mark.parametrize(("shots", "validation_shots"), [(16, 4), (1, 1), (80, 20)])
def test_shots_are_exact_for_every_class(partition, counts, dirichlet_alpha, shots, validation_shots):
    clients = partition(
        dirichlet_alpha=dirichlet_alpha, shots_per_class=shots, validation_shots_per_class=validation_shots, clients=3
    )
    assert (counts(clients, "train").sum(0) == shots).all()
    assert (counts(clients, "validation").sum(0) == validation_shots).all()


@pytest.mark.parametrize("dirichlet_alpha", [0.05, 1.0, math.inf])
def test_no_example_goes_to_two_clients_or_subsets(partition, numbers, dirichlet_alpha):
    clients = partition(dirichlet_alpha=dirichlet_alpha)
    used = [number for client in clients for subset in SUBSETS for number in numbers(getattr(client, subset))]
    assert len(used) == len(set(used))


def test_images_keep_their_labels(partition, pool, numbers):
    labels = dict(zip(numbers(pool.train) + numbers(pool.test), [*pool.train.labels, *pool.test.labels], strict=True))
    for client in partition():
        for data in (client.train, client.validation, client.test):
            assert [labels[number] for number in numbers(data)] == data.labels.tolist()


@pytest.mark.parametrize("clients", [1, 4, 7])
def test_infinite_alpha_makes_clients_alike(partition, counts, clients):
    for subset in SUBSETS:
        table = counts(partition(dirichlet_alpha=math.inf, clients=clients), subset)
        assert (table.max(0) - table.min(0) <= 1).all()


def test_small_alpha_gives_each_class_to_few(partition, counts):
    def largest_share(dirichlet_alpha):
        tables = [counts(partition(dirichlet_alpha=dirichlet_alpha, seed=seed), "train") for seed in range(20)]
        return np.mean([table.max(0) / 40 for table in tables])

    assert largest_share(0.05) > 0.75
    assert largest_share(0.05) > largest_share(1.0) > largest_share(100.0)


@pytest.mark.parametrize("dirichlet_alpha", [1e-3, 1e-9])
def test_tiny_alpha_still_gives_all_shots(partition, counts, dirichlet_alpha):
    assert (counts(partition(dirichlet_alpha=dirichlet_alpha), "train").sum(0) == 40).all()


@pytest.mark.parametrize("dirichlet_alpha", [0.01, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_no_client_is_without_training_data(partition, dirichlet_alpha, seed):
    clients = partition(dirichlet_alpha=dirichlet_alpha, clients=20, shots_per_class=4, seed=seed)
    assert min(len(client.train) for client in clients) >= 1


def test_as_many_clients_as_examples_get_one_each(partition):
    assert [len(client.train) for client in partition(clients=10, shots_per_class=2)] == [1] * 10


def test_more_clients_than_examples_are_refused(partition):
    with pytest.raises(ConfigError, match="11 clients cannot share 10 training examples"):
        partition(clients=11, shots_per_class=2)


def test_the_same_seed_gives_the_same_partition(partition, numbers):
    for one, other in zip(partition(), partition(), strict=True):
        assert one.id == other.id
        for subset in SUBSETS:
            assert numbers(getattr(one, subset)) == numbers(getattr(other, subset))


def test_another_seed_gives_another_partition(partition, numbers):
    one, other = (partition(dirichlet_alpha=math.inf, seed=seed) for seed in (1, 2))
    assert numbers(one[0].train) != numbers(other[0].train)
    assert numbers(one[0].test) != numbers(other[0].test)


def test_clients_have_the_same_shares_of_a_class_in_all_subsets(partition, counts):
    clients = partition(dirichlet_alpha=1.0)
    assert min(len(client.train) for client in clients) > 1  # no empty client had to be filled
    shares = counts(clients, "train") / 40
    assert np.abs(shares - counts(clients, "validation") / 10).max() <= 1 / 40 + 1 / 10
    assert np.abs(shares - counts(clients, "test") / 80).max() <= 1 / 40 + 1 / 80


def test_clients_are_numbered(partition):
    assert [client.id for client in partition(clients=3)] == ["client-000", "client-001", "client-002"]


@pytest.mark.parametrize(("examples", "train", "validation"), [(10, 8, 2), (2, 1, 1)])
def test_small_classes_are_divided_in_the_same_proportion(partition, numbered, examples, train, validation):
    data = TaskData(numbered([0] * 50 + [1] * examples), numbered([0, 1], 1000))
    (client,) = partition(data, clients=1, shots_per_class=16, validation_shots_per_class=4)
    assert label_counts(client.train, 2) == [16, train]
    assert label_counts(client.validation, 2) == [4, validation]


def test_a_limit_draws_test_data_at_random(partition, numbers):
    limited, everything = ([n for c in partition(test_limit=limit) for n in numbers(c.test)] for limit in (50, None))
    assert len(limited) == 50
    assert set(limited) < set(everything)
    assert sorted(limited) != sorted(everything)[:50]


class TestGroups:
    """Examples of a group show the same thing, and are on one side of the training and validation data."""

    @pytest.fixture
    def grouped(self, numbered):
        """Groups of ten images; each has images of two classes, as tones of one emoji do."""
        train = dataclasses.replace(numbered(np.arange(200) % 2), groups=(np.arange(200) // 10).astype(np.int64))
        return TaskData(train, numbered([0, 1], 1000))

    @pytest.mark.parametrize("seed", range(5))
    def test_no_group_is_in_training_and_validation_data(self, grouped, partition, numbers, counts, seed):
        clients = partition(grouped, clients=3, shots_per_class=16, validation_shots_per_class=8, seed=seed)
        train, validation = ({n // 10 for c in clients for n in numbers(getattr(c, s))} for s in SUBSETS[:2])
        assert not train & validation
        assert (counts(clients, "train").sum(0)[:2] == 16).all()
        assert (counts(clients, "validation").sum(0)[:2] == 8).all()

    def test_a_class_of_one_group_is_in_both(self, partition, numbered, numbers):
        train = dataclasses.replace(numbered([0] * 12 + [1] * 12), groups=np.repeat([0, 1], 12))
        data = TaskData(train, numbered([0, 1], 1000))
        (client,) = partition(data, clients=1, shots_per_class=4, validation_shots_per_class=2)
        assert label_counts(client.train, 2) == [4, 4]
        assert not set(numbers(client.train)) & set(numbers(client.validation))

"""The other schemes of a partition, shards and domains, and what happens to empty clients."""

import dataclasses

import numpy as np
import pytest

from fedbbpt.data import TaskData
from fedbbpt.errors import ConfigError


class TestShards:
    def test_every_client_has_few_classes_and_as_many_examples_as_the_others(self, partition, counts):
        table = counts(partition(kind="shards", clients=10, shards_per_client=2), "train")
        assert (table.sum(1) == 20).all()
        assert ((table > 0).sum(1) <= 2).all()
        assert (table.sum(0) == 40).all()

    def test_all_subsets_have_the_same_classes(self, partition, counts):
        clients = partition(kind="shards", clients=10, shards_per_client=1)
        assert np.array_equal(counts(clients, "train") > 0, counts(clients, "test") > 0)

    def test_another_seed_gives_other_owners(self, partition, counts):
        one, other = (
            counts(partition(kind="shards", clients=5, shards_per_client=1, seed=seed), "train") for seed in (1, 2)
        )
        assert not np.array_equal(one, other)


class TestDomains:
    @pytest.fixture
    def three_domains(self, pool, numbers):
        """The pool, whose domains are the numbers modulo 3."""

        def with_domains(data):
            return dataclasses.replace(data, domains=(np.array(numbers(data)) % 3).astype(np.int64))

        return TaskData(with_domains(pool.train), with_domains(pool.test))

    @pytest.mark.parametrize("clients", [3, 7])
    def test_every_client_belongs_to_one_domain(self, three_domains, partition, numbers, clients):
        for i, client in enumerate(partition(three_domains, kind="domain", clients=clients)):
            for data in (client.train, client.validation, client.test):
                assert {number % 3 for number in numbers(data)} <= {i % 3}

    def test_all_test_data_is_used_once(self, three_domains, partition, numbers):
        clients = partition(three_domains, kind="domain", clients=7)
        used = [number for client in clients for number in numbers(client.test)]
        assert sorted(used) == sorted(numbers(three_domains.test))

    def test_fewer_clients_than_domains_are_refused(self, three_domains, partition):
        with pytest.raises(ConfigError, match="3 domains, too many for 2 clients"):
            partition(three_domains, kind="domain", clients=2)

    def test_a_task_without_domains_is_refused(self, partition):
        with pytest.raises(ConfigError, match="no domains"):
            partition(kind="domain")


class TestEmptyClients:
    @pytest.mark.parametrize("empty_clients", ["error", "redraw"])
    def test_a_hopeless_partition_is_refused(self, partition, empty_clients):
        with pytest.raises(ConfigError, match=rf"without training data \(data.empty_clients={empty_clients}\)"):
            partition(empty_clients=empty_clients, dirichlet_alpha=0.01, clients=20, shots_per_class=8)

    def test_redraw_finds_a_partition_without_filling(self, partition, counts):
        options = {"dirichlet_alpha": 0.3, "clients": 4, "shots_per_class": 8}

        def leaves_a_client_empty(seed):
            try:
                partition(empty_clients="error", seed=seed, **options)
            except ConfigError:
                return True
            return False

        seed = next(seed for seed in range(50) if leaves_a_client_empty(seed))
        clients = partition(empty_clients="redraw", seed=seed, **options)
        assert min(len(client.train) for client in clients) >= 1
        assert (counts(clients, "train").sum(0) == 8).all()

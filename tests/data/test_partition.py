import dataclasses
import math

import numpy as np
import pytest

from fedbbpt.data import TaskData
from fedbbpt.data.partition import PartitionScheme, label_counts, partition_clients
from fedbbpt.errors import ConfigError
from fedbbpt.types import Dataset

CLASSES = 5


def numbered(labels, first=0):
    """Pictures of one pixel that hold their own number."""
    numbers = np.arange(first, first + len(labels))
    pixels = np.stack([numbers // 256, numbers % 256, np.zeros_like(numbers)], 1)
    return Dataset(pixels[:, :, None, None].astype(np.uint8), np.array(labels, np.int64))


def numbers(data):
    return (data.inputs[:, 0, 0, 0].astype(int) * 256 + data.inputs[:, 1, 0, 0]).tolist()


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    return TaskData(
        numbered(rng.permutation(np.repeat(np.arange(CLASSES), 100))), numbered(np.arange(400) % CLASSES, 1000)
    )


def dealt(pool, **changes):
    scheme = PartitionScheme(
        **{"dirichlet_alpha": 0.5}
        | {
            key: changes.pop(key)
            for key in ("kind", "dirichlet_alpha", "shards_per_client", "empty_clients")
            if key in changes
        }
    )
    return partition_clients(
        pool,
        **{"clients": 6, "scheme": scheme, "shots_per_class": 40, "validation_shots_per_class": 10, "seed": 1}
        | changes,
    )


def counts(clients, split):
    """Examples (clients, classes)."""
    return np.array([label_counts(getattr(client, split), CLASSES) for client in clients])


@pytest.mark.parametrize("dirichlet_alpha", [0.05, 1.0, math.inf])
def test_all_test_data_is_used_once(pool, dirichlet_alpha):
    used = [number for client in dealt(pool, dirichlet_alpha=dirichlet_alpha) for number in numbers(client.test)]
    assert sorted(used) == sorted(numbers(pool.test))


@pytest.mark.parametrize("dirichlet_alpha", [0.05, 1.0, math.inf])
@pytest.mark.parametrize(("shots", "kept_back"), [(16, 4), (1, 1), (80, 20)])
def test_shots_are_exact_for_every_class(pool, dirichlet_alpha, shots, kept_back):
    clients = dealt(
        pool, dirichlet_alpha=dirichlet_alpha, shots_per_class=shots, validation_shots_per_class=kept_back, clients=3
    )
    assert (counts(clients, "train").sum(0) == shots).all()
    assert (counts(clients, "validation").sum(0) == kept_back).all()


@pytest.mark.parametrize("dirichlet_alpha", [0.05, 1.0, math.inf])
def test_no_example_is_in_two_hands(pool, dirichlet_alpha):
    used = [
        n
        for c in dealt(pool, dirichlet_alpha=dirichlet_alpha)
        for split in (c.train, c.validation, c.test)
        for n in numbers(split)
    ]
    assert len(used) == len(set(used))


def test_pictures_keep_their_labels(pool):
    labels = dict(zip(numbers(pool.train) + numbers(pool.test), [*pool.train.labels, *pool.test.labels], strict=True))
    for client in dealt(pool):
        for split in (client.train, client.validation, client.test):
            assert [labels[number] for number in numbers(split)] == split.labels.tolist()


@pytest.mark.parametrize("clients", [1, 4, 7])
def test_infinite_alpha_makes_clients_alike(pool, clients):
    for split in ("train", "validation", "test"):
        table = counts(dealt(pool, dirichlet_alpha=math.inf, clients=clients), split)
        assert (table.max(0) - table.min(0) <= 1).all()


def test_small_alpha_gives_each_class_to_few(pool):
    def largest_share(dirichlet_alpha):
        shares = [
            counts(dealt(pool, dirichlet_alpha=dirichlet_alpha, seed=seed), "train").max(0) / 40 for seed in range(20)
        ]
        return np.mean(shares)

    assert largest_share(0.05) > 0.75
    assert largest_share(0.05) > largest_share(1.0) > largest_share(100.0)


@pytest.mark.parametrize("dirichlet_alpha", [1e-3, 1e-9])
def test_tiny_alpha_is_survived(pool, dirichlet_alpha):
    assert (counts(dealt(pool, dirichlet_alpha=dirichlet_alpha), "train").sum(0) == 40).all()


@pytest.mark.parametrize("dirichlet_alpha", [0.01, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_no_client_is_without_training_data(pool, dirichlet_alpha, seed):
    clients = dealt(pool, dirichlet_alpha=dirichlet_alpha, clients=20, shots_per_class=4, seed=seed)
    assert min(len(client.train) for client in clients) >= 1


def test_as_many_clients_as_examples_get_one_each(pool):
    clients = dealt(pool, clients=10, shots_per_class=2)
    assert [len(client.train) for client in clients] == [1] * 10


def test_more_clients_than_examples_are_refused(pool):
    with pytest.raises(ConfigError, match="11 clients cannot share 10 training examples"):
        dealt(pool, clients=11, shots_per_class=2)


def test_same_seed_same_hands(pool):
    for one, other in zip(dealt(pool), dealt(pool), strict=True):
        assert one.id == other.id
        for split in ("train", "validation", "test"):
            assert numbers(getattr(one, split)) == numbers(getattr(other, split))


def test_another_seed_other_hands(pool):
    one, other = (dealt(pool, dirichlet_alpha=math.inf, seed=seed) for seed in (1, 2))
    assert numbers(one[0].train) != numbers(other[0].train)
    assert numbers(one[0].test) != numbers(other[0].test)


def test_clients_have_the_same_shares_of_a_class_in_all_splits(pool):
    clients = dealt(pool, dirichlet_alpha=1.0)
    assert min(len(client.train) for client in clients) > 1  # nobody had to be fed
    shares = counts(clients, "train") / 40
    assert np.abs(shares - counts(clients, "validation") / 10).max() <= 1 / 40 + 1 / 10
    assert np.abs(shares - counts(clients, "test") / 80).max() <= 1 / 40 + 1 / 80


def test_names_are_numbered(pool):
    assert [client.id for client in dealt(pool, clients=3)] == ["client-000", "client-001", "client-002"]


def test_small_classes_give_validation_its_share():
    labels = [0] * 50 + [1] * 10
    clients = partition_clients(
        TaskData(numbered(labels), numbered([0, 1], 1000)),
        clients=1,
        scheme=PartitionScheme(),
        shots_per_class=16,
        validation_shots_per_class=4,
        seed=0,
    )
    assert label_counts(clients[0].train, 2) == [16, 8]
    assert label_counts(clients[0].validation, 2) == [4, 2]


def test_class_of_two_gives_one_to_each():
    clients = partition_clients(
        TaskData(numbered([0] * 50 + [1] * 2), numbered([0, 1], 1000)),
        clients=1,
        scheme=PartitionScheme(),
        shots_per_class=16,
        validation_shots_per_class=4,
        seed=0,
    )
    assert label_counts(clients[0].train, 2) == [16, 1]
    assert label_counts(clients[0].validation, 2) == [4, 1]


class TestShards:
    def test_everybody_holds_few_classes_and_as_much_as_the_others(self, pool):
        clients = dealt(pool, kind="shards", clients=10, shards_per_client=2, validation_shots_per_class=10)
        table = counts(clients, "train")
        assert (table.sum(1) == 20).all()
        assert ((table > 0).sum(1) <= 2).all()
        assert (table.sum(0) == 40).all()

    def test_all_splits_have_the_same_classes(self, pool):
        clients = dealt(pool, kind="shards", clients=10, shards_per_client=1)
        assert np.array_equal(counts(clients, "train") > 0, counts(clients, "test") > 0)

    def test_another_seed_other_owners(self, pool):
        one, other = (
            counts(dealt(pool, kind="shards", clients=5, shards_per_client=1, seed=seed), "train") for seed in (1, 2)
        )
        assert not np.array_equal(one, other)


class TestDomains:
    @pytest.fixture
    def several(self, pool):
        def with_domains(data):
            return dataclasses.replace(data, domains=(np.array(numbers(data)) % 3).astype(np.int64))

        return TaskData(with_domains(pool.train), with_domains(pool.test))

    @pytest.mark.parametrize("clients", [3, 7])
    def test_every_client_belongs_to_one_domain(self, several, clients):
        for i, client in enumerate(dealt(several, kind="domain", clients=clients)):
            for split in (client.train, client.validation, client.test):
                assert {number % 3 for number in numbers(split)} <= {i % 3}

    def test_all_test_data_is_used_once(self, several):
        used = [n for client in dealt(several, kind="domain", clients=7) for n in numbers(client.test)]
        assert sorted(used) == sorted(numbers(several.test))

    def test_fewer_clients_than_domains_are_refused(self, several):
        with pytest.raises(ConfigError, match="3 domains, too many for 2 clients"):
            dealt(several, kind="domain", clients=2)

    def test_a_task_without_domains_is_refused(self, pool):
        with pytest.raises(ConfigError, match="no domains"):
            dealt(pool, kind="domain")


class TestEmpty:
    def test_error_refuses(self, pool):
        with pytest.raises(ConfigError, match=r"without training data \(data.empty_clients=error\)"):
            dealt(pool, empty_clients="error", dirichlet_alpha=0.01, clients=20, shots_per_class=8)

    def test_redraw_gives_up_where_it_is_hopeless(self, pool):
        with pytest.raises(ConfigError, match=r"data.empty_clients=redraw"):
            dealt(pool, empty_clients="redraw", dirichlet_alpha=0.01, clients=20, shots_per_class=8)

    def test_redraw_finds_a_deal_without_gifts(self, pool):
        seed = next(s for s in range(50) if _refused(pool, s))
        clients = dealt(pool, empty_clients="redraw", dirichlet_alpha=0.3, clients=4, shots_per_class=8, seed=seed)
        assert min(len(client.train) for client in clients) >= 1
        assert (counts(clients, "train").sum(0) == 8).all()


def _refused(pool, seed):
    try:
        dealt(pool, empty_clients="error", dirichlet_alpha=0.3, clients=4, shots_per_class=8, seed=seed)
    except ConfigError:
        return True
    return False


def test_of_the_test_data_a_random_part_may_do(pool):
    part, everything = ([n for c in dealt(pool, test_limit=limit) for n in numbers(c.test)] for limit in (50, None))
    assert len(part) == 50
    assert set(part) < set(everything)
    assert sorted(part) != sorted(everything)[:50]


class TestGroups:
    @pytest.fixture
    def grouped(self, pool):
        """Every ten pictures show the same; each thing belongs to two classes, as tones of one emoji do."""
        labels = np.arange(200) % 2
        train = dataclasses.replace(numbered(labels), groups=(np.arange(200) // 10).astype(np.int64))
        return TaskData(train, numbered([0, 1], 1000))

    @pytest.mark.parametrize("seed", range(5))
    def test_what_is_validated_on_is_not_trained_on(self, grouped, seed):
        clients = dealt(grouped, clients=3, shots_per_class=16, validation_shots_per_class=8, seed=seed)
        seen, kept = ({n // 10 for c in clients for n in numbers(getattr(c, s))} for s in ("train", "validation"))
        assert not seen & kept
        assert (counts(clients, "train").sum(0)[:2] == 16).all()
        assert (counts(clients, "validation").sum(0)[:2] == 8).all()

    def test_a_class_of_one_thing_is_still_trained_on(self):
        data = dataclasses.replace(numbered([0] * 12 + [1] * 12), groups=np.repeat([0, 1], 12))
        clients = dealt(
            TaskData(data, numbered([0, 1], 1000)), clients=1, shots_per_class=4, validation_shots_per_class=2
        )
        assert label_counts(clients[0].train, 2) == [4, 4]
        assert not set(numbers(clients[0].train)) & set(numbers(clients[0].validation))


class TestOwn:
    """Somebody's own data, of which there may be little."""

    @staticmethod
    def own(classes, each):
        return TaskData(
            numbered(np.arange(classes * each) % classes), numbered(np.arange(classes), 1000), user_supplied=True
        )

    @staticmethod
    def fed(pool, **changes):
        return partition_clients(
            pool,
            **{
                "scheme": PartitionScheme(dirichlet_alpha=0.3),
                "shots_per_class": 16,
                "validation_shots_per_class": 4,
                "seed": 1,
            }
            | changes,
        )

    @pytest.mark.parametrize("seed", range(1, 6))
    @pytest.mark.parametrize(("classes", "each", "most"), [(2, 10, 2), (3, 28, 6), (5, 100, 10), (10, 100, 10)])
    def test_as_many_clients_as_can_be_fed(self, classes, each, most, seed):
        clients = self.fed(self.own(classes, each), seed=seed)
        sizes = [len(client.train) for client in clients]
        assert len(clients) <= most
        assert min(sizes) >= 4
        assert sum(sizes) >= 8 * len(clients)

    def test_very_little_is_for_one(self):
        assert len(self.fed(self.own(2, 2))) == 1

    @pytest.mark.parametrize("seed", range(3))
    def test_the_same_number_gives_the_same_hands(self, seed):
        pool = self.own(3, 28)
        chosen = self.fed(pool, seed=seed)
        told = self.fed(pool, seed=seed, clients=len(chosen))
        assert [numbers(client.train) for client in told] == [numbers(client.train) for client in chosen]
        assert [numbers(client.test) for client in told] == [numbers(client.test) for client in chosen]

    def test_who_says_a_number_gets_it(self):
        clients = self.fed(self.own(2, 20), clients=20)
        assert len(clients) == 20
        assert min(len(client.train) for client in clients) == 1

    def test_every_domain_has_a_client(self):
        pool = self.own(2, 90)
        train, test = (
            dataclasses.replace(data, domains=np.arange(len(data)) % 12) for data in (pool.train, numbered([0, 1] * 12))
        )
        assert len(self.fed(TaskData(train, test, user_supplied=True), scheme=PartitionScheme("domain"))) == 12

    def test_public_data_have_ten(self, pool):
        assert len(self.fed(pool, shots_per_class=2)) == 10

    def test_given_validation_data_are_used_as_they_are(self):
        pool = dataclasses.replace(self.own(2, 40), validation=numbered(np.arange(30) % 2, 500))
        clients = self.fed(pool)
        validation = [number for client in clients for number in numbers(client.validation)]
        assert len(validation) == 8
        assert all(500 <= number < 530 for number in validation)
        assert sum(len(client.train) for client in clients) == 32

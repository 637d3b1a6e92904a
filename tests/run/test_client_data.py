import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from fedbbpt.config import make_config
from fedbbpt.data import TaskData
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.run.client_data import describe_client, make_client_data, site_client
from fedbbpt.types import Dataset

TASK = SimpleNamespace(dirichlet_alpha=0.3, source="/federation")


def balanced(count):
    """So many examples of three classes."""
    return Dataset(np.zeros((count, 3, 1, 1), np.uint8), np.arange(count) % 3)


POOL = TaskData(balanced(84), balanced(24), provider_examples=12, user_supplied=True)


def configured(**data):
    return make_config({"backend": {"name": "local-vit"}, "data": data})


def said(pool=POOL, **data):
    return dict(make_client_data(configured(**data), TASK, pool).description)


def test_the_split_in_words():
    assert said()["data"] == (
        "12 for the provider, 48 for training (at most 16 per class, 24 unused), 12 for validation, 24 for the test"
    )


def test_what_is_not_there_is_not_said():
    description = said(
        dataclasses.replace(POOL, provider_examples=0, validation=balanced(9)), shots_per_class=28, test_limit=10
    )
    assert description["data"] == "84 for training (at most 28 per class), 9 for validation, 10 of 24 for the test"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            {},
            "12 training examples each: fewer than 10, so that each has enough "
            "(--clients and --shots-per-class change that)",
        ),
        ({"clients": 6}, "6, with 4 to 12 training examples each"),
        ({"clients": 1}, "1, with 48 training examples"),
        ({"clients": 28, "shots_per_class": 100}, "fewer than 4: fewer --clients would feed them"),
        (
            {"clients": 1, "shots_per_class": 1},
            "1, with 3 training examples; 1 with fewer than 4: more --shots-per-class would feed them",
        ),
        (
            {"clients": 48, "dirichlet_alpha": 1e9},
            "; 48 with fewer than 4: fewer --clients or more --shots-per-class would feed them",
        ),
    ],
)
def test_the_clients_in_words(data, says):
    assert said(**data)["clients"].endswith(says)


def test_clients_of_public_data_are_as_many_as_ever():
    assert said(dataclasses.replace(POOL, user_supplied=False))["clients"].startswith("10, with ")


def numbered(first, count):
    """So many texts of three classes; the texts are their numbers."""
    return Dataset(as_texts([str(first + i) for i in range(count)]), np.arange(count) % 3)


SITES = {name: TaskData(numbered(1000 * i, 30), numbered(1000 * i + 500, 9)) for i, name in enumerate("abc")}
APART = TaskData(numbered(0, 90), numbered(500, 27), user_supplied=True, sites=SITES)


def test_each_site_is_a_client_with_its_own_data():
    clients = make_client_data(configured(shots_per_class=5), TASK, APART).clients
    assert [client.id for client in clients] == ["a", "b", "c"]
    for client, data in zip(clients, SITES.values(), strict=True):
        assert set(client.test.inputs) == set(data.test.inputs)
        assert np.bincount(client.train.labels).tolist() == [5, 5, 5]
        assert set(client.train.inputs) | set(client.validation.inputs) <= set(data.train.inputs)


def test_a_site_has_the_same_client_in_a_simulation_and_by_itself():
    config = configured(shots_per_class=5, clients=3)
    for client in make_client_data(config, TASK, APART).clients:
        alone = site_client(config, client.id, SITES[client.id])
        assert alone.id == client.id
        for subset in ("train", "validation", "test"):
            ours, theirs = client.subset(subset), alone.subset(subset)
            assert ours.inputs.tolist() == theirs.inputs.tolist()
            assert ours.labels.tolist() == theirs.labels.tolist()


def test_limits_count_for_each_site():
    config = configured(shots_per_class=5, validation_shots_per_class=2, test_limit=4)
    clients = make_client_data(config, TASK, APART).clients
    assert [describe_client(client) for client in clients] == ["15 for training, 6 for validation, 4 for the test"] * 3


def test_the_sites_in_words():
    description = said(APART, shots_per_class=5)
    assert description["data"] == (
        "45 for training (at most 5 per class and site, 9 unused), 36 for validation, 27 for the test"
    )
    site = "15 for training, 12 for validation, 9 for the test"
    assert description["clients"] == f"3, each with the data of a site (a: {site}; b: {site}; c: {site})"


def test_of_many_sites_some_are_described():
    many = dataclasses.replace(APART, sites={f"site-{i:02}": data for i, data in enumerate([*SITES.values()] * 4)})
    assert said(many)["clients"].startswith("12, each with the data of a site (site-00: ")
    assert said(many)["clients"].endswith("9 for the test; and 4 more)")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"clients": 2}, "/federation holds the data of 3 sites, each of which is one client; leave out --clients 2"),
        ({"partition": "shards"}, "leave out data.partition"),
        ({"dirichlet_alpha": 0.5}, "leave out data.dirichlet_alpha"),
        ({"shards_per_client": 3}, "leave out data.shards_per_client"),
        ({"empty_clients": "redraw"}, "leave out data.empty_clients"),
    ],
)
def test_what_would_divide_the_sites_data_is_refused(data, message):
    with pytest.raises(ConfigError, match=message):
        make_client_data(configured(**data), TASK, APART)

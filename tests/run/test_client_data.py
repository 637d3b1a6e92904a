import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from fedbbpt.config import make_config
from fedbbpt.data import TaskData
from fedbbpt.run.client_data import make_client_data
from fedbbpt.types import Dataset

TASK = SimpleNamespace(dirichlet_alpha=0.3)


def balanced(count):
    """So many examples of three classes."""
    return Dataset(np.zeros((count, 3, 1, 1), np.uint8), np.arange(count) % 3)


POOL = TaskData(balanced(84), balanced(24), provider_examples=12, user_supplied=True)


def said(pool=POOL, **data):
    config = make_config({"backend": {"name": "local-vit"}, "data": data})
    return dict(make_client_data(config, TASK, pool).description)


def test_the_split_in_words():
    assert said()["data"] == (
        "12 for the provider, 48 for training (at most 16 per class, 24 unused), 12 for validation, 24 for the test"
    )


def test_what_is_not_there_is_not_said():
    told = said(
        dataclasses.replace(POOL, provider_examples=0, validation=balanced(9)), shots_per_class=28, test_limit=10
    )
    assert told["data"] == "84 for training (at most 28 per class), 9 for validation, 10 of 24 for the test"


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

"""What every registered task promises."""

import csv
import dataclasses
import json
from functools import partial

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from fedbbpt import registry
from fedbbpt.data import Task, hash_split
from fedbbpt.data.digits import Digits
from fedbbpt.testing import ContractError, check_task
from fedbbpt.testing.tasks import SIZE, TASK_CHECKS
from fedbbpt_benchmarks import suite
from fedbbpt_benchmarks.images import ImageExample
from fedbbpt_benchmarks.texts import TextExample

UCI = ["digits", "digits-iid"]
MANY = 100  # classes, of which each has fewer examples


def write_classes(root, seed=0):
    rng = np.random.default_rng(seed)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(30):
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(root / name / f"{i:02d}.png")


def table_rows():
    return [{"text": f"text {i}", "label": ("good", "bad")[i % 2]} for i in range(120)]


def write_csv(path):
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ("text", "label"))
        table.writeheader()
        table.writerows(table_rows())


TABLES = {
    "csv": write_csv,
    "jsonl": lambda path: path.write_text("".join(json.dumps(row) + "\n" for row in table_rows())),
    "parquet": lambda path: pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table_rows()), path),
}


def count_of(classes):
    """Eight examples a class and side; four where there are many classes."""
    return (8 if len(classes) < MANY else 4) * len(classes)


def texts_of(name, classes):
    """Texts, other ones for every data set."""
    for side in (False, True):
        for i in range(count_of(classes)):
            yield TextExample(f"{side}/{i}", classes[i % len(classes)], f"{name}: text {i} of {side}", official=side)


def pictures_of(name, classes):
    """Pictures, other ones for every data set."""
    rng = np.random.default_rng(list(name.encode()))
    for side in (False, True):
        for i in range(count_of(classes)):
            noise = Image.fromarray(rng.integers(0, 256, (30, 30, 3), np.uint8))
            yield ImageExample(f"{side}/{i}", classes[i % len(classes)], noise, official=side)


@pytest.fixture(params=[name for name in registry.names("tasks") if name != "at-sites"])  # which holds no data
def task(request, tmp_path, monkeypatch):
    """Every task; those of the suite with pictures of ours, so that nothing is fetched."""
    if request.param == "folder":
        write_classes(tmp_path)
        return registry.load("tasks", "folder")(str(tmp_path))
    if request.param == "sites":
        for seed, site in enumerate(("berlin", "rome")):
            write_classes(tmp_path / site, seed)
        return registry.load("tasks", "sites")(str(tmp_path))
    if request.param in TABLES:
        TABLES[request.param](tmp_path / "table")
        return registry.load("tasks", request.param)(str(tmp_path / "table"))
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    for name, row in suite.SPECS.items():
        count = count_of(row.classes)
        read = partial(texts_of if row.modality == "text" else pictures_of, name, row.classes)
        shots = count // len(row.classes) // 2
        small = dataclasses.replace(row, read=read, train=count, test=count, dropped=0, provider_shots_per_class=shots)
        monkeypatch.setitem(suite.SPECS, name, small)
    return registry.load("tasks", request.param)(None)


@pytest.mark.parametrize("check", TASK_CHECKS, ids=lambda check: check.__name__)
def test_keeps_its_promises(task, check):
    assert Task in type(task).__mro__
    assert task.modality in ("image", "text")
    check(task)


class Leaky(Digits):
    """Learns some of what is tested."""

    def load(self, size):
        data = super().load(size)
        return dataclasses.replace(data, train=data.test)


def test_what_breaks_a_promise_is_told_which():
    with pytest.raises(ContractError, match="no example is on two sides: train, test"):
        check_task(Leaky)


@pytest.mark.parametrize("name", UCI)
def test_digits_are_split_by_the_hash_of_their_number(name):
    from sklearn.datasets import load_digits

    pool = registry.load("tasks", name)(None).load((8, 8))
    test = np.array([hash_split(f"digits/{i}") == "test" for i in range(1797)])
    pixels = load_digits().images
    assert len(pool.train) + len(pool.test) == 1797
    for data, rows in ((pool.train, ~test), (pool.test, test)):
        assert np.allclose(data.inputs[:, 1] / 255 * 16, pixels[rows], atol=0.04)
        assert np.array_equal(data.labels, load_digits().target[rows])


@pytest.mark.parametrize("name", UCI)
def test_digits_take_nothing_after_their_name(name):
    with pytest.raises(ValueError, match=":left"):
        registry.load("tasks", name)("left")


def test_digits_differ_in_the_skew_only():
    skewed, alike = (registry.load("tasks", name)(None) for name in UCI)
    assert skewed.dirichlet_alpha == 0.3
    assert alike.dirichlet_alpha == float("inf")
    assert np.array_equal(skewed.load(SIZE).test.inputs, alike.load(SIZE).test.inputs)


def test_coin_is_fair_and_the_same_for_text_and_bytes():
    tossed = [hash_split(str(i)) for i in range(2000)]
    assert 900 < tossed.count("test") < 1100
    assert tossed == [hash_split(str(i).encode()) for i in range(2000)]

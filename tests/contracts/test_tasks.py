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
from fedbbpt.data import hash_split
from fedbbpt_benchmarks import suite
from fedbbpt_benchmarks.images import ImageExample
from fedbbpt_benchmarks.texts import TextExample

SIZE = (8, 12)
UCI = ["digits", "digits-iid"]


def write_classes(root):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir()
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


def texts_of(classes):
    """Eight texts a class and side."""
    for side in (False, True):
        for i in range(8 * len(classes)):
            yield TextExample(f"{side}/{i}", classes[i % len(classes)], f"text {i} of {side}", official=side)


def pictures_of(classes):
    """Eight pictures a class and side."""
    rng = np.random.default_rng(0)
    for side in (False, True):
        for i in range(8 * len(classes)):
            noise = Image.fromarray(rng.integers(0, 256, (30, 30, 3), np.uint8))
            yield ImageExample(f"{side}/{i}", classes[i % len(classes)], noise, official=side)


@pytest.fixture(params=registry.names("tasks"))
def task(request, tmp_path, monkeypatch):
    """Every task; those of the suite with pictures of ours, so that nothing is fetched."""
    if request.param == "folder":
        write_classes(tmp_path)
        return registry.load("tasks", "folder")(str(tmp_path))
    if request.param in TABLES:
        TABLES[request.param](tmp_path / "table")
        return registry.load("tasks", request.param)(str(tmp_path / "table"))
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    for name, row in suite.SPECS.items():
        count = 8 * len(row.classes)
        read = partial(texts_of if row.modality == "text" else pictures_of, row.classes)
        small = dataclasses.replace(row, read=read, train=count, test=count, dropped=0, provider_shots_per_class=4)
        monkeypatch.setitem(suite.SPECS, name, small)
    return registry.load("tasks", request.param)(None)


@pytest.fixture
def size(task):
    """What a model that fits the task reads."""
    return SIZE if task.modality == "image" else None


def test_images_are_bytes_of_the_wanted_size_and_texts_are_strings(task, size):
    pool = task.load(size)
    for data in (pool.train, pool.test):
        if size:
            assert data.inputs.dtype == np.uint8
            assert data.inputs.shape == (len(data), 3, *SIZE)
        else:
            assert data.inputs.shape == (len(data),)
            assert all(isinstance(text, str) for text in data.inputs)


def test_labels_are_the_numbers_of_all_classes_on_both_sides(task, size):
    pool = task.load(size)
    for data in (pool.train, pool.test):
        assert data.labels.dtype == np.int64
        assert data.labels.shape == (len(data),)
        assert set(data.labels) == set(range(len(task.classes)))


def test_no_example_is_on_both_sides(task, size):
    pool = task.load(size and (24, 24))
    train, test = (set(data.contents()) for data in (pool.train, pool.test))
    assert len(train) >= 8
    assert not train & test


def test_loading_again_gives_the_same(task, size):
    first, second = task.load(size), task.load(size)
    for a, b in ((first.train, second.train), (first.test, second.test)):
        assert list(a.contents()) == list(b.contents())
        assert np.array_equal(a.labels, b.labels)


def test_provider_knows_the_classes_and_the_concentration_is_positive(task):
    assert task.provider.classes == task.classes
    assert len(set(task.classes)) == len(task.classes) >= 2
    assert task.dirichlet_alpha > 0


def test_something_is_known_of_its_origin(task):
    assert task.metadata["title"]
    assert all(isinstance(text, str) for pair in task.metadata.items() for text in pair)


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

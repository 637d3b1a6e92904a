"""The table of the suite, and the store of its examples."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from fedbbpt import registry
from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.errors import ConfigError, DataError
from fedbbpt_benchmarks import suite
from fedbbpt_benchmarks.images import ImageExample
from fedbbpt_benchmarks.suite import store
from fedbbpt_benchmarks.suite.task import TaskSpec, task_class

SIZE = (4, 5)
Read = Callable[[], Iterator[ImageExample]]


def grey(key: str, label: str, level: int, *, test: bool) -> ImageExample:
    return ImageExample(key, label, Image.new("L", (6, 6), level), official=test)


def greys() -> Iterator[ImageExample]:
    """Ten pictures a class and side, each of its own grey; one of the test side looks like one for training."""
    for i in range(40):
        yield grey(f"grey/{i}", "dark" if i % 40 < 20 else "light", 6 * i, test=i % 2 == 1)
    yield grey("grey/copy", "light", 120, test=True)
    yield grey("grey/other", "no class", 1, test=False)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, tmp_path) -> dict[str, TaskSpec]:
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    row = TaskSpec("greys", greys, ("dark", "light"), 20, 20, 1, "a grey", ("mnist",), "none", "nobody")
    return {"greys": row, "shifted": dataclasses.replace(row, provider_task="greys", head="mnist")}


class TestTable:
    def test_every_row_is_a_task_by_its_name(self) -> None:
        assert set(suite.SPECS) <= set(registry.names("tasks"))
        for name in suite.SPECS:
            assert registry.load("tasks", name) is suite.TASKS[name]

    @pytest.mark.parametrize("name", suite.SPECS)
    def test_row(self, name: str) -> None:
        row = suite.SPECS[name]
        assert len(set(row.classes)) == len(row.classes) >= 2
        assert row.train >= 20 * len(row.classes)  # four for the provider, sixteen to share
        assert row.test >= 10 * len(row.classes)
        assert set(row.assets) <= set(ASSETS)
        assert all((row.title, row.group, row.licence, row.citation))
        assert row.superseded_by is None or row.superseded_by in suite.SPECS
        assert (row.provider_task is None) == (row.head is None)
        assert row.provider_task is None or suite.SPECS[row.provider_task].classes == row.classes


class TestStore:
    def test_what_looks_like_a_training_picture_is_dropped_from_the_test(self, rows: dict[str, TaskSpec]) -> None:
        kept = store.prepare("greys", rows["greys"], SIZE)
        assert (kept.sides == store.DROPPED).nonzero()[0].tolist() == [40]
        train, test = ({kept.inputs[i].tobytes() for i in kept.rows(side)} for side in (store.TRAIN, store.TEST))
        assert len(train) == len(test) == 20
        assert not train & test

    def test_what_looks_alike_shares_a_key(self, rows: dict[str, TaskSpec]) -> None:
        keys = store.prepare("greys", rows["greys"], SIZE).keys
        assert len(set(keys)) == len(keys) - 1
        assert keys[40] == "grey/20"

    def test_pictures_are_decoded_once(self, rows: dict[str, TaskSpec], monkeypatch: pytest.MonkeyPatch) -> None:
        first = store.prepare("greys", rows["greys"], SIZE)
        silent = dataclasses.replace(rows["greys"], read=lambda: pytest.fail("read again"))
        second = store.prepare("greys", silent, SIZE)
        assert isinstance(second.inputs, np.memmap)
        np.testing.assert_array_equal(first.inputs, second.inputs)
        np.testing.assert_array_equal(first.labels, second.labels)

    def test_an_index_of_another_format_is_written_anew(self, rows: dict[str, TaskSpec], tmp_path) -> None:
        kept = store.prepare("greys", rows["greys"], SIZE)
        (tmp_path / "tasks/greys-4x5.json").write_text('{"assets": [], "tested": []}')
        assert store.prepare("greys", rows["greys"], SIZE).keys == kept.keys

    def test_another_archive_is_read_again(self, rows: dict[str, TaskSpec]) -> None:
        store.prepare("greys", rows["greys"], SIZE)
        calls = []
        other = dataclasses.replace(rows["greys"], assets=("noto",), read=lambda: calls.append(1) or greys())
        store.prepare("greys", other, SIZE)
        assert calls == [1]

    def test_a_reader_that_stops_half_way_leaves_nothing_that_counts(self, rows: dict[str, TaskSpec]) -> None:
        def interrupted() -> Iterator[ImageExample]:
            yield from list(greys())[:10]
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.prepare("greys", dataclasses.replace(rows["greys"], read=interrupted), SIZE)
        assert len(store.prepare("greys", rows["greys"], SIZE).labels) == 41

    def test_other_counts_than_published_are_an_error(self, rows: dict[str, TaskSpec]) -> None:
        with pytest.raises(DataError, match=r"finds .*'dropped': 1.* publishes .*'dropped': 0"):
            store.prepare("greys", dataclasses.replace(rows["greys"], dropped=0), SIZE)


class TestTask:
    def test_the_provider_has_a_few_that_no_client_has(self, rows: dict[str, TaskSpec]) -> None:
        task = task_class("greys", rows)(None, provider_shots_per_class=3)
        shots, pool = task.provider.shots(SIZE), task.load(SIZE)
        assert np.bincount(shots.labels).tolist() == [3, 3]
        assert len(pool.train) == 14
        assert len(pool.test) == 20
        pixels = [set(data.contents()) for data in (shots, pool.train, pool.test)]
        assert not pixels[0] & pixels[1]
        assert not (pixels[0] | pixels[1]) & pixels[2]

    def test_what_shares_a_key_with_the_providers_is_no_clients(self, rows: dict[str, TaskSpec]) -> None:
        def pairs() -> Iterator[ImageExample]:
            return (picture._replace(key=f"grey/{i // 4}") for i, picture in enumerate(greys()))

        rows["pairs"] = dataclasses.replace(rows["greys"], read=pairs)
        pool = task_class("pairs", rows)(None, provider_shots_per_class=3).load(SIZE)
        assert np.bincount(pool.train.labels).tolist() == [6, 6]  # of ten, four are two pairs of the provider's
        assert np.bincount(pool.train.groups).tolist() == [2] * 6

    def test_where_a_row_has_a_source_the_provider_knows_that_one(self, rows: dict[str, TaskSpec]) -> None:
        task = task_class("shifted", rows)(None)
        assert task.provider.head == "mnist"
        assert len(task.provider.shots(SIZE)) == len(task.load(SIZE).train) == 20

    def test_nothing_follows_its_name(self, rows: dict[str, TaskSpec]) -> None:
        with pytest.raises(ConfigError, match=":left"):
            task_class("greys", rows)("left")

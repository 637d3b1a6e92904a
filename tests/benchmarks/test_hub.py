"""Readers of the hub's data sets, on small files in its own format."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from fedbbpt.errors import DataError
from fedbbpt_benchmarks import hub, suite
from fedbbpt_benchmarks.hub import HubSplit, hub_images, hub_texts

Write = Callable[[str, list[dict[str, Any]]], None]
TRAIN, TEST = HubSplit("*train-*.parquet", 6, 6, False), HubSplit("*test-*.parquet", 4, 2, True)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of the only data set."""
    monkeypatch.setattr(hub.store, "fetch", lambda name: tmp_path)

    def file(path: str, rows: list[dict[str, Any]]) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / path)

    return file


def picture(level: int, label: int, **more: object) -> dict[str, Any]:
    """A row as the hub keeps images: encoded, with the name of the file."""
    contents = io.BytesIO()
    Image.new("L", (5, 5), level).save(contents, "png")
    return {"image": {"bytes": contents.getvalue(), "path": f"{level}.png"}, "label": label, **more}


def test_pictures_by_split_over_all_shards(write: Write) -> None:
    for shard in range(2):
        write(f"data/train-{shard:05}-of-00002.parquet", [picture(10 * shard + i, i) for i in range(3)])
    write("data/test-00000-of-00001.parquet", [picture(100 + i, i % 3) for i in range(4)])
    found = list(hub_images("set", (TRAIN, TEST), ("a", "b", "c")))
    assert [(p.label, p.image.getpixel((0, 0)), p.for_test) for p in found[:6]] == [
        (label, level, False) for level, label in zip((0, 1, 2, 10, 11, 12), "abcabc", strict=True)
    ]
    tested = [p.image.getpixel((0, 0)) for p in found[6:]]
    assert len(tested) == 2
    assert set(tested) < {100, 101, 102, 103}
    assert len({p.key for p in found}) == 8


def test_other_columns_and_labels_that_do_not_start_at_zero(write: Write) -> None:
    rows = [{"img": picture(i, 0)["image"], "count": 3 + i % 2} for i in range(6)]
    write("train-0.parquet", rows)
    found = list(hub_images("set", (TRAIN,), ("3", "4"), image="img", label="count", first=3))
    assert [p.label for p in found] == ["3", "4"] * 3


def test_only_the_first_frame_of_a_clip(write: Write) -> None:
    rows = [picture(i, 0, video=i // 6, clip=i // 2) for i in range(12)]
    write("train-0.parquet", rows)
    found = list(hub_images("set", (TRAIN,), ("a",), once=("video", "clip")))
    assert [p.image.getpixel((0, 0)) for p in found] == [0, 2, 4, 6, 8, 10]


def test_a_split_of_our_own(write: Write) -> None:
    write("validation-0.parquet", [picture(i, 0) for i in range(100)])
    found = list(hub_images("set", (HubSplit("*.parquet", 100, 100, None),), ("a",)))
    assert 30 < sum(p.for_test for p in found) < 70


def test_pairs_of_texts_without_those_that_have_no_label(write: Write) -> None:
    rows = [{"premise": f"p{i}", "hypothesis": f"h{i}", "label": i % 3 - 1} for i in range(9)]
    write("plain_text/train-00000-of-00001.parquet", rows)
    found = list(hub_texts("set", (TRAIN,), ("yes", "no"), ("premise", "hypothesis")))
    assert [(t.text, t.label) for t in found[:2]] == [("p1 h1", "yes"), ("p2 h2", "no")]
    assert len(found) == 6


class TestBad:
    def test_another_count_than_published(self, write: Write) -> None:
        write("train-0.parquet", [picture(i, 0) for i in range(5)])
        with pytest.raises(DataError, match=r"5 labelled examples .* where 6 were expected"):
            list(hub_images("set", (TRAIN,), ("a",)))

    def test_missing_column(self, write: Write) -> None:
        write("train-0.parquet", [{"text": "a", "label": 0}])
        with pytest.raises(DataError, match=r"no column 'sentence', only text, label"):
            list(hub_texts("set", (TRAIN,), ("a",), ("sentence",)))

    def test_missing_split(self, write: Write) -> None:
        with pytest.raises(DataError, match=r"holds no \*train-"):
            list(hub_texts("set", (TRAIN,), ("a",), ("text",)))

    def test_damaged_file(self, write: Write, tmp_path: Path) -> None:
        (tmp_path / "train-0.parquet").write_bytes(b"PAR1 half")
        with pytest.raises(DataError, match=r"cannot be read .* fetch it again"):
            list(hub_texts("set", (TRAIN,), ("a",), ("text",)))


@pytest.mark.parametrize("name", suite.PAPERS)
def test_specs_publish_what_their_splits_draw(name: str) -> None:
    spec = suite.PAPERS[name]
    asset, splits, classes = spec.read.args[:3]
    assert (asset,) == spec.assets
    assert classes == spec.classes
    for split in splits:
        assert split.examples >= 200
    if all(split.official is not None for split in splits):
        drawn = [sum(min(s.examples, s.limit) for s in splits if s.official == side) for side in (False, True)]
        assert drawn == [spec.train, spec.test]
    assert spec.dropped is None

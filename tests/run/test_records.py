"""Records that are read back, and what a run's folder keeps of its task."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import BaseModel

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import DataError, RunError
from fedbbpt.run.records import read_record, to_record
from fedbbpt.run.saved_task import SavedTask, recording, task_info
from fedbbpt.types import Dataset


class Record(BaseModel):
    """What is read in these tests."""

    name: str
    count: int


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A record."""
    path = tmp_path / "record.json"
    path.write_bytes(to_record({"name": "a", "count": 3}))
    return path


def test_a_record_comes_back_however_it_is_spaced(file: Path) -> None:
    assert read_record(file, Record) == Record(name="a", count=3)
    file.write_text(json.dumps(json.loads(file.read_text())))
    assert read_record(file, Record) == Record(name="a", count=3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 10**5, "not JSON"),
        (b'{"count": ' + 5000 * b"1" + b"}", "not JSON|checksum"),
        (b"[]", "checksum"),
        (b"null", "checksum"),
        (b'{"name": "a", "count": 3}', "checksum"),
        (to_record({"name": "a", "count": 3}).replace(b"3,", b"4,"), "checksum"),
        (to_record({"name": "a", "count": "3"}), "count is wrong"),
        (to_record({"name": "a"}), "count is wrong"),
        (to_record({"name": "a", "count": True}), "count is wrong"),
    ],
)
def test_a_damaged_record_is_a_sentence(file: Path, content: bytes, says: str) -> None:
    file.write_bytes(content)
    with pytest.raises(RunError, match=rf"record\.json is damaged \(.*({says})"):
        read_record(file, Record)


def test_a_record_that_cannot_be_read_is_a_sentence(file: Path) -> None:
    file.unlink()
    with pytest.raises(RunError, match=r"cannot read .*: no such file"):
        read_record(file, Record)
    file.mkdir()
    with pytest.raises(RunError, match=r"cannot read .*: is a directory"):
        read_record(file, Record)
    file.rmdir()
    file.symlink_to(file)
    with pytest.raises(RunError, match=r"cannot read .*: too many levels"):
        read_record(file, Record)


def _pictures(size: tuple[int, int]) -> Dataset:
    return Dataset(np.arange(2 * 3 * size[0] * size[1], dtype=np.uint8).reshape(2, 3, *size), np.array([0, 1]))


def _texts(_: None) -> Dataset:
    return Dataset(as_texts(["a\nb", "ü 😀"]), np.array([1, 0]))


@pytest.mark.parametrize(("size", "give"), [((4, 5), _pictures), (None, _texts)])
def test_shots_that_were_taken_are_given_where_the_data_are_not(size, give) -> None:
    provider = recording(Provider(("a", "b"), shots=give))
    assert provider.to_bytes() == b""
    provider.shots(size)
    task = SimpleNamespace(modality="image", source="/data", classes=("a", "b"), provider=provider)
    away = SavedTask(task_info(task), provider.to_bytes())
    given, expected = away.provider.shots(size), give(size)
    assert given.inputs.tolist() == expected.inputs.tolist()
    assert given.labels.tolist() == expected.labels.tolist()
    with pytest.raises(DataError, match="no examples"):
        away.provider.shots((9, 9))
    with pytest.raises(DataError, match="not here"):
        away.load(size)


def test_what_was_fitted_is_kept_in_place_of_the_shots() -> None:
    provider = recording(Provider(("a", "b"), shots=_pictures, label_words=("A", "B"), question="Letter"))

    def fit():
        return {"weight": np.float32([[1, 2]]) * len(provider.shots((4, 5))), "cosine": np.asarray(True)}

    fitted = provider.fit(fit)
    task = SimpleNamespace(modality="image", source=None, classes=("a", "b"), provider=provider)
    away = SavedTask(task_info(task), provider.to_bytes()).provider
    again = away.fit(lambda: pytest.fail("fitted anew"))
    assert {name: array.tolist() for name, array in again.items()} == {"weight": [[2, 4]], "cosine": True}
    assert again.keys() == fitted.keys()
    assert (away.label_words, away.question) == (("A", "B"), "Letter")
    with pytest.raises(DataError):
        away.shots((4, 5))


def test_a_task_without_shots_has_none_elsewhere() -> None:
    task = SimpleNamespace(modality="text", source=None, classes=("a", "b"), provider=Provider(("a", "b")))
    assert SavedTask(task_info(task), b"").provider.shots is None

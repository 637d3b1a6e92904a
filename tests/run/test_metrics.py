import hashlib
import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedbbpt.errors import RunError
from fedbbpt.run.metrics import Mark, MetricsWriter, is_intact, read_metrics


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def written(path, *rows, size=0):
    with MetricsWriter(path, size) as metrics:
        for row in rows:
            metrics.append(row)
        return metrics.sync()


def row(round_=0, **changes):
    costs = {"queries": 1, "requests": 1, "bytes_up": 0, "bytes_down": 0, "seconds": 0.1}
    scores = {"accuracy": 0.5, "loss": 1 / 3, "train_loss": None, "is_best": True}
    return {"round": round_, "subset": "validation", **scores, **costs, **changes}


def test_rows_come_back(path):
    rows = [row(0, note="ü"), row(1, loss=None, note="a\nb")]
    written(path, *rows)
    assert read_metrics(path) == rows


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_becomes_null(path, value):
    written(path, row(loss=value))
    assert read_metrics(path) == [row(loss=None)]
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == row(loss=None)


def test_sync_gives_the_files_size_and_checksum(path):
    mark = written(path, {"a": 1}, {"a": 2})
    assert mark == Mark(len(path.read_bytes()), hashlib.sha256(b'{"a": 1}\n{"a": 2}\n').hexdigest())
    assert written(path, {"a": 3}, size=mark.size) == Mark(27, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: c.replace(b"2", b"3"), lambda c: b"", lambda c: b"\n" + c, lambda c: c[::-1]]
)
def test_what_stands_before_a_mark_is_checked(path, damage):
    mark = written(path, {"a": 1}, {"a": 2})
    assert is_intact(path, mark)
    with path.open("ab") as file:
        file.write(b'{"a": ')
    assert is_intact(path, mark)
    path.write_bytes(damage(path.read_bytes()[: mark.size]))
    assert not is_intact(path, mark)


def test_without_a_file_nothing_stands_before_a_mark(path):
    assert not is_intact(path, Mark())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[" * 10**5, "not JSON"),
        ("9" * 5000, "not JSON"),
        ("[]", "wrong"),
        (json.dumps(row(round=-1)), "wrong in 'round'"),
        (json.dumps(row(subset="train")), "wrong in 'subset'"),
        (json.dumps(row(queries="7")), "wrong in 'queries'"),
        (json.dumps(row(is_best=1)), "wrong in 'is_best'"),
        (json.dumps({"round": 1}), "wrong in 'subset'"),
        ("", "not JSON"),
    ],
)
def test_rows_that_no_run_writes_are_refused_by_their_number(path, line, says):
    path.write_text(json.dumps(row()) + "\n" + line + "\n")
    with pytest.raises(RunError, match=rf"row 2 of .*metrics\.jsonl is {says}"):
        read_metrics(path)


def test_metrics_that_are_not_there_are_a_sentence(path):
    with pytest.raises(RunError, match=r"cannot read .*: no such file"):
        read_metrics(path)


def test_every_row_is_there_at_once(path):
    with MetricsWriter(path) as metrics:
        metrics.append(row())
        assert read_metrics(path) == [row()]


def test_rows_behind_the_checkpoint_are_removed(path):
    size = written(path, row(1), row(2)).size
    written(path, row(3), size=size)
    written(path, row(4), size=size)
    assert read_metrics(path) == [row(1), row(2), row(4)]


def test_half_a_row_is_removed(path):
    size = written(path, row(1)).size
    with path.open("ab") as file:
        file.write(b'{"a": ')
    written(path, row(2), size=size)
    assert read_metrics(path) == [row(1), row(2)]


def test_start_of_a_run_removes_everything(path):
    written(path, row(1))
    written(path, row(2))
    assert read_metrics(path) == [row(2)]


def test_rows_that_got_lost_are_noticed(path):
    size = written(path, {"a": 1}, {"a": 2}).size
    path.write_bytes(b'{"a": 1}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl"), MetricsWriter(path, size):
        pass


def test_folder_that_is_gone(tmp_path):
    with pytest.raises(RunError, match="cannot write"):
        MetricsWriter(tmp_path / "gone" / "metrics.jsonl", 0)


def test_a_full_disk_is_a_sentence_also_when_the_file_is_closed(path):
    def append():
        with Path("/dev/full").open("wb") as full, MetricsWriter(path) as metrics:
            os.dup2(full.fileno(), metrics._file.fileno())
            metrics.append(row())

    with pytest.raises(RunError, match="disk is full"):
        append()


def test_a_disk_that_takes_a_part_of_a_row_is_given_the_rest(path, monkeypatch):
    with MetricsWriter(path) as metrics:
        real = metrics._file
        metrics._file = SimpleNamespace(write=lambda data: real.write(data[:7]), close=real.close, fileno=real.fileno)
        metrics.append(row())
        assert metrics.sync().sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_metrics(path) == [row()]

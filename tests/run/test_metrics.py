import json
import math

import pytest

from fedbbpt.errors import RunError
from fedbbpt.run.metrics import Metrics, read_metrics


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def written(path, *rows, size=0):
    with Metrics(path, size) as metrics:
        for row in rows:
            metrics.append(row)
        return metrics.sync()


def test_rows_come_back(path):
    rows = [{"round": 0, "loss": 1 / 3, "note": "ü"}, {"round": 1, "loss": None, "note": "a\nb"}]
    written(path, *rows)
    assert read_metrics(path) == rows


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_becomes_null(path, value):
    written(path, {"loss": value})
    assert read_metrics(path) == [{"loss": None}]
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"loss": None}


def test_sync_gives_the_files_size(path):
    assert written(path, {"a": 1}, {"a": 2}) == path.stat().st_size == len(b'{"a": 1}\n{"a": 2}\n')


def test_every_row_is_there_at_once(path):
    with Metrics(path, 0) as metrics:
        metrics.append({"a": 1})
        assert read_metrics(path) == [{"a": 1}]


def test_rows_behind_the_checkpoint_are_removed(path):
    size = written(path, {"a": 1}, {"a": 2})
    written(path, {"a": 3}, size=size)
    written(path, {"a": 4}, size=size)
    assert read_metrics(path) == [{"a": 1}, {"a": 2}, {"a": 4}]


def test_half_a_row_is_removed(path):
    size = written(path, {"a": 1})
    with path.open("ab") as file:
        file.write(b'{"a": ')
    written(path, {"a": 2}, size=size)
    assert read_metrics(path) == [{"a": 1}, {"a": 2}]


def test_start_of_a_run_removes_everything(path):
    written(path, {"a": 1})
    written(path, {"b": 1})
    assert read_metrics(path) == [{"b": 1}]


def test_rows_that_got_lost_are_noticed(path):
    size = written(path, {"a": 1}, {"a": 2})
    path.write_bytes(b'{"a": 1}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl"), Metrics(path, size):
        pass


def test_folder_that_is_gone(tmp_path):
    with pytest.raises(RunError, match="cannot write"):
        Metrics(tmp_path / "gone" / "metrics.jsonl", 0)


def test_two_writers_of_one_run_are_kept_apart(path):
    with Metrics(path, 0), pytest.raises(RunError, match="another process is working on the run"):
        Metrics(path, 0)
    with Metrics(path, 0) as later:
        assert later.sync() == 0

"""Event files of TensorBoard, read back."""

import struct
import sys
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from fedbbpt.callbacks import open_callback
from fedbbpt.errors import MissingExtra


def events(folder: Path) -> list[Event]:
    """All events: each has its length (8 bytes, and 4 of a checksum) before it, and a checksum (4 bytes) behind it."""
    found = []
    for file in sorted(folder.glob("events.*")):
        content, place = file.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            found.append(Event.FromString(content[place + 12 : place + 12 + length]))
            place += length + 16
    return found


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    return {
        (value.tag, event.step): value.simple_value
        for event in events(folder)
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    }


def test_rows_and_summary_are_logged(tell, recorded, tmp_path):
    tell(open_callback(f"tensorboard:{tmp_path / 'board'}"))
    found = scalars(tmp_path / "board")
    for row in recorded.rows[:2]:
        assert found["validation/accuracy", row["round"]] == pytest.approx(row["accuracy"])
        assert found["cost/queries", row["round"]] == row["queries"]
    assert found["test/accuracy", recorded.rows[2]["round"]] == pytest.approx(recorded.summary["test_accuracy"])
    assert found["summary/test_accuracy", 1] == pytest.approx(recorded.summary["test_accuracy"])


def test_nothing_of_a_client_is_logged(tell, private, tmp_path):
    tell(open_callback(f"tensorboard:{tmp_path}"))
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"shots_per_class" in content
    assert not any(word.encode() in content for word in private)


def test_each_round_is_on_disk_when_it_ends(recorded, tmp_path):
    callback = open_callback(f"tensorboard:{tmp_path}")
    callback.on_plan(*recorded.plan, 0)
    callback.on_round(recorded.rows[0])
    assert ("validation/loss", 0) in scalars(tmp_path)
    callback.close()


def test_a_resumed_run_adds_to_the_folder(tell, tmp_path):
    tell(open_callback(f"tensorboard:{tmp_path}"), slice(0, 1), complete=False)
    tell(open_callback(f"tensorboard:{tmp_path}"), slice(1, 3), done=1)
    assert {("validation/loss", 0), ("validation/loss", 1)} <= scalars(tmp_path).keys()


def test_without_the_extra_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fedbbpt\[tensorboard\]'"):
        open_callback(f"tensorboard:{tmp_path}")

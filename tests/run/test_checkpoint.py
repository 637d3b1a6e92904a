import errno
import json
import os
import re

import numpy as np
import pytest

from fedbbpt.algorithms import ServerState
from fedbbpt.errors import RunError
from fedbbpt.run import checkpoint
from fedbbpt.run.checkpoint import Best, Progress, Totals, load_last, save, tidy
from fedbbpt.run.metrics import Mark
from fedbbpt.run.records import to_record


def progress(round_):
    rng = np.random.default_rng(round_)
    current = {"prompt": rng.normal(size=5).astype(np.float32), "readout": np.zeros(0, np.float32)}
    best = {"prompt": rng.normal(size=5).astype(np.float32), "readout": np.zeros(0, np.float32)}
    opt_state = {"client-000": rng.normal(size=(2, 3, 4)).astype(np.float32)}
    totals, mark = Totals(10 * round_, round_, 7, 8, seconds=0.1 + 0.2), Mark(99, "f" * 64)
    return Progress(
        ServerState(round_, current, opt_state), Best(1, 0.5, 1 / 3, 0.4, best), totals, mark, "config", "data"
    )


def assert_same(a, b):
    assert (a.state.round, a.best.round, a.best.accuracy, a.best.loss) == (
        b.state.round,
        b.best.round,
        b.best.accuracy,
        b.best.loss,
    )
    assert (a.totals, a.metrics) == (b.totals, b.metrics)
    assert (a.config_sha256, a.data_sha256) == (b.config_sha256, b.data_sha256)
    for one, other in (
        (a.state.parameters, b.state.parameters),
        (a.best.parameters, b.best.parameters),
        (a.state.opt_state, b.state.opt_state),
    ):
        assert one.keys() == other.keys()
        for part in one:
            assert (one[part].dtype, one[part].shape) == (other[part].dtype, other[part].shape)
            assert one[part].tobytes() == other[part].tobytes()


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of the rounds 1 and 2."""
    for round_ in (1, 2):
        save(tmp_path, progress(round_))
    return tmp_path


@pytest.fixture
def broken(monkeypatch):
    """`broken("fsync", errno.ENOSPC, after=1)`: the second call of os.fsync fails."""

    def make(function, number, after=0):
        real, left = getattr(os, function), [after]

        def failing(*args, **kwargs):
            if left[0] == 0:
                raise OSError(number, os.strerror(number))
            left[0] -= 1
            return real(*args, **kwargs)

        monkeypatch.setattr(os, function, failing)

    return make


def test_comes_back_bit_for_bit(folder):
    found, damaged = load_last(folder)
    assert_same(found, progress(2))
    assert damaged == []


def test_parts_with_a_path_for_a_name_come_back(tmp_path):
    whole = progress(1)
    parts = {"client-000/opt_state/lowest": np.ones(1, np.float32), "prompt": np.zeros(2, np.float32)}
    own = Progress(ServerState(1, parts, {}), whole.best, whole.totals, Mark(), "", "")
    save(tmp_path, own)
    assert_same(load_last(tmp_path)[0], own)


def test_loss_of_a_silent_model_comes_back(tmp_path):
    silent = progress(1)
    save(tmp_path, Progress(silent.state, Best(0, 0.0, np.nan, np.nan, {}), silent.totals, Mark(), "", ""))
    assert np.isnan(load_last(tmp_path)[0].best.loss)


def test_no_checkpoint_is_no_progress(tmp_path):
    assert load_last(tmp_path) == (None, [])


def test_last_two_are_kept(folder):
    for round_ in (3, 4, 10):
        save(folder, progress(round_))
    stems = ["round-000004", "round-000010"]
    assert names(folder) == sorted(f"{stem}.{end}" for stem in stems for end in ("json", "safetensors"))


def test_saving_a_round_again_replaces_it(folder):
    save(folder, progress(2))
    assert_same(load_last(folder)[0], progress(2))


@pytest.mark.parametrize("end", ["json", "safetensors"])
@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "foreign"])
def test_damaged_newest_falls_back_to_the_one_before(folder, end, damage):
    file = folder / f"round-000002.{end}"
    content = file.read_bytes()
    at = content.index(b'"arrays_sha256": "') + 20 if end == "json" else len(content) - 1
    flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    damaged = {"empty": b"", "half": content[: len(content) // 2], "flipped": flipped, "foreign": b"[1, 2]"}
    file.write_bytes(damaged[damage])
    found, passed_over = load_last(folder)
    assert_same(found, progress(1))
    assert passed_over == ["round-000002"]


def test_lost_arrays_fall_back_to_the_checkpoint_before(folder):
    (folder / "round-000002.safetensors").unlink()
    found, passed_over = load_last(folder)
    assert_same(found, progress(1))
    assert passed_over == ["round-000002"]


def test_arrays_without_their_record_do_not_count(folder):
    (folder / "round-000002.json").unlink()
    found, passed_over = load_last(folder)
    assert_same(found, progress(1))
    assert passed_over == []


@pytest.mark.parametrize("key", ["round", "best", "totals", "metrics_size", "config_sha256", "arrays_sha256"])
def test_record_without_a_key_is_damaged(folder, key):
    file = folder / "round-000002.json"
    file.write_text(file.read_text().replace(f'"{key}"', '"other"'))
    assert load_last(folder)[1] == ["round-000002"]


@pytest.mark.parametrize(
    "change",
    [
        ('"queries": 20', '"queries": 21'),
        ('"round": 2', '"round": 3'),
        ('"start": 0.4', '"start": 0.0'),
        ('"loss": 0.3', '"loss": 0.4'),
        ('"metrics_size": 99', '"metrics_size": 98'),
        ('"data_sha256": "data"', '"data_sha256": "tada"'),
    ],
)
def test_a_digit_of_the_record_that_changed_is_noticed(folder, change):
    file = folder / "round-000002.json"
    before = file.read_text()
    assert before.count(change[0]) == 1
    file.write_text(before.replace(*change))
    found, passed_over = load_last(folder)
    assert_same(found, progress(1))
    assert passed_over == ["round-000002"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("round", "2"),
        ("round", True),
        ("round", 2.0),
        ("metrics_size", None),
        ("metrics_size", -1),
        ("totals", []),
        ("totals/queries", "x"),
        ("totals/queries", float("nan")),
        ("best", None),
        ("best/loss", "a"),
        ("best/round", [[]]),
        ("arrays_sha256", 7),
    ],
)
def test_a_record_of_other_types_is_damaged_even_if_its_checksum_fits(folder, path, value):
    file = folder / "round-000002.json"
    record = json.loads(file.read_bytes())
    del record["sha256"]
    *section, key = path.split("/")
    (record[section[0]] if section else record)[key] = value
    file.write_bytes(to_record(record))
    assert load_last(folder)[1] == ["round-000002"]


@pytest.mark.parametrize("content", ["[" * 10**6, "1" * 10**5, '{"a":' * 10**5, "null", '"text"', "\ud800", "\x00"])
def test_what_is_no_record_is_damaged(folder, content):
    (folder / "round-000002.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    assert load_last(folder)[1] == ["round-000002"]


def _folder(path):
    path.unlink()
    path.mkdir()


def _circle(path):
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize("end", ["json", "safetensors"])
@pytest.mark.parametrize("replace", [_folder, _circle])
def test_what_is_no_file_is_damaged(folder, end, replace):
    replace(folder / f"round-000002.{end}")
    found, passed_over = load_last(folder)
    assert_same(found, progress(1))
    assert passed_over == ["round-000002"]


def test_a_checkpoint_under_another_number_is_damaged(folder):
    for end in ("json", "safetensors"):
        (folder / f"round-000002.{end}").rename(folder / f"round-000007.{end}")
    assert load_last(folder)[1] == ["round-000007"]


def test_a_checkpoint_that_lacks_something_else_is_passed_over_by_its_name(folder):
    found, passed_over = load_last(folder, lambda one: "metrics.jsonl" if one.state.round == 2 else "")
    assert_same(found, progress(1))
    assert passed_over == ["round-000002 (its metrics.jsonl has changed)"]


def test_a_run_that_goes_on_meanwhile_does_not_look_damaged(folder, monkeypatch):
    """Both checkpoints give way to others between the look at their names and the one at their contents."""
    real, looks = checkpoint._records, iter(range(100))

    def records(place):
        found = real(place)
        if next(looks) == 0:
            for round_ in (3, 4):
                save(folder, progress(round_))
        return found

    monkeypatch.setattr(checkpoint, "_records", records)
    found, passed_over = load_last(folder)
    assert_same(found, progress(4))
    assert passed_over == []


def test_nothing_whole_is_an_error(folder):
    for file in folder.glob("*.safetensors"):
        file.write_bytes(b"")
    with pytest.raises(RunError, match=r"every checkpoint in .* is damaged .*round-000002, round-000001"):
        load_last(folder)


@pytest.mark.parametrize(
    ("function", "after"), [("fsync", 0), ("fsync", 1), ("fsync", 2), ("replace", 0), ("replace", 1)]
)
def test_failed_write_leaves_what_was_there(folder, broken, function, after):
    broken(function, errno.EIO, after)
    with pytest.raises(RunError, match="cannot write"):
        save(folder, progress(3))
    found, damaged = load_last(folder)
    assert_same(found, progress(2))
    assert damaged == []
    assert not [name for name in names(folder) if name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "disk is full.*--resume"),
        (errno.EDQUOT, "quota.*--resume"),
        (errno.EROFS, "read-only.*--out"),
        (errno.EIO, re.escape(os.strerror(errno.EIO).lower())),
    ],
)
def test_error_says_what_the_disk_said(folder, broken, number, hint):
    broken("fsync", number)
    with pytest.raises(RunError, match=hint):
        save(folder, progress(3))


def test_after_a_failed_write_the_run_can_go_on(folder, broken, monkeypatch):
    broken("fsync", errno.ENOSPC, after=1)
    with pytest.raises(RunError):
        save(folder, progress(3))
    monkeypatch.undo()
    save(folder, progress(3))
    assert_same(load_last(folder)[0], progress(3))


@pytest.mark.parametrize("last", [2, 3])
def test_halves_and_old_and_later_ones_are_removed(folder, last):
    save(folder, progress(3))
    whole = {f"round-{n:06d}.{end}" for n in (last - 1, last) for end in ("json", "safetensors")}
    for name in ("round-000000.json", "round-000001.safetensors", "round-000009.json", "round-000009.safetensors"):
        (folder / name).write_bytes(b"left")
    (folder / "notes.txt").write_bytes(b"somebody's own")
    tidy(folder, last)
    assert set(names(folder)) == {"notes.txt", *(name for name in whole if name >= "round-000002")}


def test_leftovers_of_a_killed_write_are_passed_over(folder):
    (folder / ".round-000003.json.tmp").write_bytes(b"{")
    (folder / "round-000003.safetensors").write_bytes(b"half")
    assert_same(load_last(folder)[0], progress(2))


def test_folder_that_is_gone(tmp_path):
    with pytest.raises(RunError, match="cannot write"):
        save(tmp_path / "gone" / "checkpoints", progress(1))

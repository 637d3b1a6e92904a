import errno
import stat
from pathlib import Path

import pytest

from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import write_atomic, writing


def test_replaces_the_whole_file(tmp_path):
    file = tmp_path / "a.json"
    write_atomic(file, b"a long first version")
    write_atomic(file, b"short")
    assert file.read_bytes() == b"short"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "a.json"
    write_atomic(file, b"old")
    monkeypatch.setattr(f"os.{function}", full)
    with pytest.raises(RunError, match="disk is full"):
        write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_part_of_the_path_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"part of the path is a file.*--out"):
        write_atomic(tmp_path / "file" / "a.json", b"new")


def test_error_names_the_file_that_could_not_be_written(tmp_path):
    with pytest.raises(RunError, match=r"cannot write .*thing: is a directory"), writing(tmp_path / "thing"):
        raise IsADirectoryError(errno.EISDIR, "Is a directory")


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(KeyError), writing(tmp_path):
        raise KeyError("not the disk's business")


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "key"
    (tmp_path / ".key.tmp").touch(0o644)  # of a call that was killed
    write_atomic(file, b"secret", 0o600)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"secret", 0o600)

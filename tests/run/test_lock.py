"""A run's folder belongs to one process at a time."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import new_folder, next_folder
from fedbbpt.run.lock import folder_lock

HOLDS = """
import pathlib, sys
from fedbbpt.run.lock import folder_lock

with folder_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_refused_and_the_next_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with (
        folder_lock(folder),
        pytest.raises(RunError, match="another process is working on the run"),
        folder_lock(folder),
    ):
        pass
    with folder_lock(folder):
        (folder / "file").touch()
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(RunError, match="another process"), folder_lock(tmp_path):
            pass
        process.kill()
    assert (tmp_path / ".lock").exists()
    with folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("file", "a file of that name"),
        ("file/run", "part of the path is a file"),
        ("circle/run", "symbolic links lead in a circle"),
        ("n" * 300, "path is too long"),
        ("/".join(25 * ["p" * 200]), "path is too long"),
    ],
    ids=["a file", "in a file", "a circle", "a long name", "a long path"],
)
def test_a_path_that_the_system_does_not_take_is_a_short_sentence(tmp_path: Path, path: str, says: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(RunError, match=rf"cannot write .*{says}.*--out") as refused, folder_lock(tmp_path / path):
        pass
    assert len(str(refused.value)) < 500
    place = new_folder(tmp_path / path, tmp_path, "x")
    with pytest.raises(RunError, match="cannot write"), place as folder, folder_lock(folder):
        pass


def test_many_at_once_take_a_folder_each(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: next_folder(tmp_path / "runs", "digits"), range(16)))
    assert sorted(folder.name for folder in taken) == [f"digits-{i:03d}" for i in range(1, 17)]


@pytest.mark.parametrize("given", [True, False])
def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path: Path, given: bool) -> None:
    parent = tmp_path / "runs"
    wanted = parent / "mine" if given else None
    with new_folder(wanted, parent, "digits") as folder, folder_lock(folder):
        assert folder.name == ("mine" if given else "digits-001")
    assert list(tmp_path.iterdir()) == []
    with new_folder(wanted, parent, "digits") as folder, folder_lock(folder):
        (folder / "file").touch()
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_an_empty_folder_of_the_users_stays(tmp_path: Path) -> None:
    with new_folder(tmp_path, tmp_path, "digits") as folder:
        pass
    assert folder.exists()


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("filelock.FileLock.acquire", full)
    with pytest.raises(RunError, match="disk is full"), folder_lock(tmp_path):
        pass

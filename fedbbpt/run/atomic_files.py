"""Atomic, durable writes, and errors of the file system as `RunError`s that say what to do."""

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
    """Turns an OSError into a RunError that names the file and suggests a remedy."""
    try:
        yield
    except OSError as e:
        raise RunError(f"cannot write {_shorten(path)}: {HINTS.get(e.errno or 0, _reason(e))}") from e


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """As `writing`, for reads."""
    try:
        yield
    except OSError as e:
        raise RunError(f"cannot read {_shorten(path)}: {_reason(e)}") from e


def _shorten(path: Path) -> str:
    return name if len(name := str(path)) <= MAX_PATH_SHOWN else f"{name[:MAX_PATH_SHOWN]}…"


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def check_writable(folder: Path) -> None:
    """Raises RunError if a folder, which need not exist yet, is not writable. Writes nothing."""
    with writing(folder):
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def next_folder(parent: Path, name: str) -> Path:
    """Creates the first of `parent/name-001`, `-002`, … that does not exist, exclusively for the caller."""
    for number in itertools.count(1):
        folder = parent / f"{name}-{number:03d}"
        with writing(folder), suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


@contextmanager
def new_folder(folder: Path | None, parent: Path, name: str) -> Iterator[Path]:
    """Yields `folder`, or else a new one from `next_folder`; removes the folders it created if they stay empty."""
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
    """SHA-256 in hexadecimal, the checksum of all records."""
    return hashlib.sha256(data).hexdigest()


def to_json(value: Any, indent: int | None = None) -> bytes:
    """Serialises to standard JSON: NaN and infinities become null."""
    return json.dumps(finite_or_none(value), indent=indent, allow_nan=False).encode()


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON with `write_atomic`."""
    write_atomic(path, to_json(value, indent=1))


def write_atomic(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replaces a file atomically: after a crash at any moment, either the old or the new content is there.

    Args:
        path: the file.
        data: its new content.
        mode: its permissions, less the umask; nobody else can read a private file at any moment.

    Raises:
        RunError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path):
        try:
            temporary.unlink(missing_ok=True)  # of a killed call, which may have had other permissions
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            fsync_folder(path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def remove_temporaries(folder: Path) -> None:
    """Removes temporary files of killed `write_atomic` calls; nobody else may be writing to the folder."""
    for temporary in folder.glob(".*.tmp"):
        with writing(temporary):
            temporary.unlink()


def fsync_folder(folder: Path) -> None:
    """Makes new directory entries durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def finite_or_none(value: Any) -> Any:
    """Replaces NaN and infinities with None, also inside dicts and lists."""
    if isinstance(value, dict):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

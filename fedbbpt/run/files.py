"""Files that are either whole or not there."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedbbpt.errors import RunError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk may say into a RunError that names the file and what to do."""
    try:
        yield
    except OSError as e:
        hint = {
            errno.ENOSPC: "the disk is full; free some space and continue with --resume",
            errno.EDQUOT: "your disk quota is used up; free some space and continue with --resume",
            errno.EACCES: "no permission to write there; choose another folder with --out",
            errno.EROFS: "the disk is read-only; choose another folder with --out",
            errno.ENOTDIR: "a part of the path is a file; choose another folder with --out",
        }.get(e.errno or 0, (e.strerror or type(e).__name__).lower())
        raise RunError(f"cannot write {path}: {hint}") from e


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
            sync_folder(path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

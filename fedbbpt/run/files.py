"""Files that are either whole or not there."""

import errno
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def next_folder(parent: Path, name: str) -> Path:
    """The first of `parent/name-001`, `-002`, … that does not exist."""
    number = 1
    while (folder := parent / f"{name}-{number:03d}").exists():
        number += 1
    return folder


def to_json(value: Any, indent: int | None = None) -> bytes:
    """JSON that every reader takes: what is not a finite number becomes null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False).encode()


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


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

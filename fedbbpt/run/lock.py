"""A lock that lets one process at a time work on a run."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import writing


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Creates the folder if needed, and holds an exclusive lock on it.

    The operating system releases the lock when the process ends, even if it is killed.

    Raises:
        RunError: another process holds the lock, or the folder cannot be written.
    """
    file = folder / ".lock"
    lock = filelock.FileLock(file)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as e:
            raise RunError(
                f"another process is working on the run in {folder}; wait for it, stop it, or choose another folder"
            ) from e
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # while it is held: whoever waits for it sees that it is gone, and makes a new one
        lock.release()

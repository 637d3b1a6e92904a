"""Locks that let one process at a time work on a folder."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from fedbbpt.errors import FedbbptError, RunError
from fedbbpt.run.atomic_files import writing


@contextmanager
def exclusive_lock(file: Path, otherwise: FedbbptError, timeout: float = 0.0) -> Iterator[None]:
    """Creates the file's folder if needed, and holds an exclusive lock on the file.

    The operating system releases the lock when the process ends, even if it is killed.

    Raises:
        FedbbptError: `otherwise`, if another process still holds the lock after `timeout` seconds.
        RunError: the folder cannot be written.
    """
    lock = filelock.FileLock(file, thread_local=False)  # whichever thread is at work, it is this process's lock
    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=timeout)
        except filelock.Timeout as e:
            raise otherwise from e
    try:
        yield
    finally:
        lock.release()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Creates a run's folder if needed, and holds an exclusive lock on it; see `exclusive_lock`.

    Raises:
        RunError: another process holds the lock, or the folder cannot be written.
    """
    file = folder / ".lock"
    busy = f"another process is working on the run in {folder}; wait for it, stop it, or choose another folder"
    with exclusive_lock(file, RunError(busy)):
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink()  # while it is held: whoever waits for it sees that it is gone, and makes a new one

"""`metrics.jsonl`: a row a round, with all costs counted from the start of the run."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from fedbbpt.errors import RunError
from fedbbpt.run.files import to_json, writing


class Metrics:
    """Appends rows; what lies behind `size` bytes is left over from a run that was cut off, and is removed."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        with writing(path):
            self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends, however it ends
        except BlockingIOError as e:
            self._file.close()
            raise RunError(f"another process is working on the run in {path.parent}; wait for it, or stop it") from e
        if path.stat().st_size < size:
            self._file.close()
            raise RunError(f"{path} has lost rows of the rounds done; restore it, or start a new run")
        with writing(path):
            self._file.truncate(size)

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row; NaN becomes null."""
        with writing(self._path):
            self._file.write(to_json(row) + b"\n")
            self._file.flush()

    def sync(self) -> int:
        """Makes all rows durable; returns the file's size in bytes."""
        with writing(self._path):
            os.fsync(self._file.fileno())
            return self._path.stat().st_size

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All rows."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

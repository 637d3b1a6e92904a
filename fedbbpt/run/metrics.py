"""`metrics.jsonl`: one row per round, with costs accumulated since the start of the run."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, NonNegativeInt, ValidationError

from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import checksum, reading, to_json, writing
from fedbbpt.run.records import error_location


class Mark(NamedTuple):
    """A position in the file, and the checksum of everything before it."""

    size: int = 0  # bytes
    sha256: str = checksum(b"")


class MetricsRow(BaseModel):
    """The fields that every row has."""

    round: NonNegativeInt
    subset: Literal["validation", "test"]
    accuracy: float | None
    loss: float | None
    train_loss: float | None
    is_best: bool
    queries: NonNegativeInt
    requests: NonNegativeInt
    bytes_up: NonNegativeInt
    bytes_down: NonNegativeInt
    seconds: float


class MetricsWriter:
    """Appends rows, after truncating the file to `size` bytes: a killed run may have left rows of a lost round."""

    def __init__(self, path: Path, size: int = 0) -> None:
        self._path = path
        with writing(path):
            self._file = path.open("a+b", buffering=0)  # a row that failed is not tried again when the file is closed
            self._file.seek(0)
            before = self._file.read(size)
            self._digest = hashlib.sha256(before)
            if len(before) == size:
                self._file.truncate(size)
        if len(before) < size:
            self._file.close()
            raise RunError(f"{path} has lost rows of the rounds done; restore it, or start a new run")

    def append(self, row: dict[str, Any]) -> None:
        """Appends a row; NaN becomes null."""
        left = line = to_json(row) + b"\n"
        with writing(self._path):
            while left:  # a disk that is nearly full takes a part
                left = left[self._file.write(left) :]
        self._digest.update(line)

    def sync(self) -> Mark:
        """Makes all rows durable; returns the position behind them."""
        with writing(self._path):
            os.fsync(self._file.fileno())
            return Mark(self._path.stat().st_size, self._digest.hexdigest())

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def is_intact(path: Path, mark: Mark) -> bool:
    """Whether everything before the mark is still there, unchanged."""
    try:
        with path.open("rb") as file:
            return checksum(file.read(mark.size)) == mark.sha256
    except OSError:
        return False


def count_rows(path: Path) -> int:
    """The number of rows; 0 without a file."""
    if not path.exists():
        return 0
    with reading(path):
        return path.read_bytes().count(b"\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Reads and validates all rows.

    Raises:
        RunError: a row is not JSON, or a field is missing or of the wrong type.
    """
    found = []
    with reading(path):
        lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
            MetricsRow.model_validate(found[-1], strict=True)
        except (ValueError, RecursionError) as e:
            wrong = f"wrong in {error_location(e)!r}" if isinstance(e, ValidationError) else "not JSON"
            raise RunError(f"row {number} of {path} is {wrong}; restore the file from a backup") from e
    return found

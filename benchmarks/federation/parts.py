"""The parts of a measurement: each is kept in a file of its own, and measured once."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt.run.records import read_record, to_record

M = TypeVar("M", bound=BaseModel)


def part(path: Path, kind: type[M], measure: Callable[[], M]) -> M:
    """Reads what a file holds; without it, makes its folder, measures, and writes the file.

    Raises:
        RunError: the file is damaged, or cannot be written.
    """
    if path.exists():
        return read_record(path, kind)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    measured = measure()
    write_atomic(path, to_record(measured.model_dump()))
    return measured

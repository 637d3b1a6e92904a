"""JSON records of a run, protected by a checksum and validated when they are read back."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import checksum, reading

M = TypeVar("M", bound=BaseModel)
KEY = "sha256"


def to_record(values: dict[str, Any]) -> bytes:
    """Serialises values to indented JSON, with their checksum as the last value."""
    return json.dumps({**values, KEY: _checksum_of(values)}, indent=1).encode()


def read_record(path: Path, kind: type[M]) -> M:
    """Reads a file that `to_record` made, and validates it as `kind`.

    Raises:
        RunError: the file is missing or damaged.
    """
    with reading(path):
        content = path.read_bytes()
    try:
        values = json.loads(content)
        if values.pop(KEY) != _checksum_of(values):
            raise ValueError("another checksum")
        return kind.model_validate_json(json.dumps(values), strict=True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise RunError(f"{path} is damaged ({_reason(e)}); restore it from a backup, or start a new run") from e


def error_location(error: ValidationError) -> str:
    """The dotted name of the first invalid value."""
    return ".".join(map(str, error.errors()[0]["loc"])) or "all"


def _checksum_of(values: dict[str, Any]) -> str:
    """The checksum of the values, independent of white space in the file."""
    return checksum(json.dumps(values).encode())


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return f"{error_location(error)} is wrong"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "not JSON"
    return "its checksum does not fit"

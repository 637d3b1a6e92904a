"""Records of a run that are read back: JSON with a checksum of all that it says, and checked by type."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import checksum, reading

M = TypeVar("M", bound=BaseModel)
KEY = "sha256"


def to_record(values: dict[str, Any]) -> bytes:
    """Readable JSON with its checksum as the last of its values."""
    return json.dumps({**values, KEY: _checksum_of(values)}, indent=1).encode()


def read_record(path: Path, kind: type[M]) -> M:
    """What `signed` made, checked.

    Raises:
        RunError: it is missing, or no longer what was written.
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
    """The first value that has the wrong type."""
    return ".".join(map(str, error.errors()[0]["loc"])) or "all"


def _checksum_of(values: dict[str, Any]) -> str:
    """Of the values, not of their spacing."""
    return checksum(json.dumps(values).encode())


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return f"{error_location(error)} is wrong"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
        return "not JSON"
    return "its checksum does not fit"

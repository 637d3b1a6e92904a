"""Checks of values by pydantic, with errors in one sentence."""

from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.printing import short_repr

MAX_STRING = 1_000_000  # characters; any limit makes pydantic refuse strings that are not UTF-8, such as some paths

M = TypeVar("M", bound=BaseModel)


def check_keys(kind: str, given: Iterable[str], known: Iterable[str], shown_by: str | None = None) -> None:
    """Raises UnknownName for the first key that is not known; `shown_by` is the command that lists the known ones."""
    known = set(known)
    for key in given:
        if key not in known:
            raise UnknownName(kind, key, known, shown_by)


def validate(model: type[M], values: dict[str, Any], section: str = "") -> M:
    """Makes `model(**values)`.

    Raises:
        ConfigError: a value is invalid; names the first one, below `section`.
    """
    try:
        return model(**values)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(part) for part in ([section] if section else []) + list(first["loc"]))
        raise ConfigError(f"{where}: {first['msg'].lower()}, got {short_repr(first['input'])}") from e

"""A component's options are the keyword-only arguments of its class; their types and bounds are the class's own."""

import inspect
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from fedbbpt import registry
from fedbbpt.errors import ConfigError, UnknownName

M = TypeVar("M", bound=BaseModel)


def load_class(kind: str, name: str) -> Any:
    """The class behind `name` or, for tasks, `name:argument`."""
    return registry.load(kind, name.partition(":")[0])


def resolve(kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a component, checked, with all defaults filled in.

    Raises:
        UnknownName: no such component or option.
        ConfigError: a value of the wrong type or out of bounds.
    """
    section = kind.removesuffix("s")
    initialiser = load_class(kind, name).__init__
    hints = typing.get_type_hints(initialiser, include_extras=True)
    arguments = [a for a in inspect.signature(initialiser).parameters.values() if a.kind is a.KEYWORD_ONLY]
    fields: dict[str, Any] = {
        a.name: (hints.get(a.name, Any), ... if a.default is a.empty else a.default) for a in arguments
    }
    model = create_model(section, __config__=ConfigDict(allow_inf_nan=False, strict=True), **fields)
    check_keys(f"option of {section} {name!r}", options, fields)
    checked: BaseModel = validate(model, dict(options), section)
    return checked.model_dump()


def check_keys(kind: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raises UnknownName for the first key that is not known."""
    for key in given:
        if key not in known:
            raise UnknownName(kind, key, known)


def validate(model: type[M], values: dict[str, Any], section: str = "") -> M:
    """`model(**values)` with a ConfigError in one sentence for what pydantic finds."""
    try:
        return model(**values)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(part) for part in ([section] if section else []) + list(first["loc"]))
        raise ConfigError(f"{where}: {first['msg'].lower()}, got {first['input']!r}") from e

"""A component's options are the keyword-only arguments of its class; their types and bounds are the class's own."""

import inspect
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from fedbbpt import registry
from fedbbpt.backend import Embeddings, Modality
from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.printing import short_repr
from fedbbpt.prompts import Prompt
from fedbbpt.types import Size

M = TypeVar("M", bound=BaseModel)
MAX_STRING = 1_000_000  # characters of an option; with a limit, pydantic also refuses what is no UTF-8, as of a path


def load_class(kind: str, name: str) -> Any:
    """The class behind `name` or, for tasks and wrapping prompts, `name:argument`."""
    return registry.load(kind, name.partition(":")[0])


def resolve(kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a component, checked, with all defaults filled in; of a wrapping prompt, also those of the inner.

    Raises:
        UnknownName: no such component or option.
        ConfigError: a value of the wrong type or out of bounds, or nothing to wrap.
    """
    section = kind.removesuffix("s")
    classes = [load_class(kind, name)] if kind == "tasks" else _layers(kind, name)
    fields: dict[str, Any] = {}
    for component in classes:
        fields |= {key: field for key, field in option_fields(component).items() if key not in fields}
    model = create_model(
        section, __config__=ConfigDict(allow_inf_nan=False, strict=True, str_max_length=MAX_STRING), **fields
    )
    check_keys(f"option of {section} {name!r}", options, fields)
    checked: BaseModel = validate(model, dict(options), section)
    return checked.model_dump()


def build_prompt(name: str, options: Mapping[str, Any], size: Size, embeddings: Embeddings | None = None) -> Prompt:
    """A prompt from its options as `resolve` gives them, and for a wrapping one the prompt inside as well.

    A prompt that uses embeddings is told the model's embeddings in place of the size of its images.
    """
    outer, *inside = _layers("prompts", name)
    own = option_fields(outer)

    def told(layer: Any) -> Any:
        return embeddings if layer.uses_embeddings else size

    built = [layer(told(layer), **{key: value for key, value in options.items() if key not in own}) for layer in inside]
    prompt: Prompt = outer(told(outer), *built, **{key: value for key, value in options.items() if key in own})
    return prompt


def modalities_of(name: str) -> tuple[Modality, ...]:
    """What a prompt can be applied to, before it is built; a wrapping one goes with what the inner goes with."""
    modalities: tuple[Modality, ...] = _layers("prompts", name)[-1].modalities
    return modalities


def learns_vocabulary(name: str) -> bool:
    """Whether a prompt, or the one that it wraps, wants its option `vocabulary` learned where it is empty."""
    return any(layer.learns_vocabulary for layer in _layers("prompts", name))


def uses_embeddings(name: str) -> bool:
    """Whether a prompt, or the one that it wraps, is told the model's embeddings."""
    return any(layer.uses_embeddings for layer in _layers("prompts", name))


def is_white_box(algorithm: Any) -> bool:
    """Whether the method cuts the model instead of querying it."""
    return isinstance(algorithm, str) and bool(getattr(load_class("algorithms", algorithm), "white_box", False))


def _layers(kind: str, name: str) -> list[Any]:
    """The classes behind a name: one, or with `outer:inner` the wrapping one and that of what is inside."""
    section = kind.removesuffix("s")
    outer, colon, inner = name.partition(":")
    component = load_class(kind, outer)
    if kind != "prompts" or not component.wraps:
        if colon:
            raise ConfigError(f"{section} {outer!r} wraps no other: leave out {colon + inner!r}")
        return [component]
    if inner in set(registry.names(kind)) - {"none"} and not (wrapped := load_class(kind, inner)).wraps:
        return [component, wrapped]
    raise _nothing_to_wrap(kind, outer, inner)


def _nothing_to_wrap(kind: str, outer: str, inner: str) -> ConfigError | UnknownName:
    section = kind.removesuffix("s")
    wrapping = {name for name in registry.names(kind) if load_class(kind, name).wraps}
    possible = sorted(set(registry.names(kind)) - wrapping - {"none"})
    if inner.partition(":")[0] not in {"", *wrapping}:
        return UnknownName(f"{section} to be wrapped by {outer!r}", inner, possible)
    return ConfigError(
        f"{section} {outer!r} wraps another that wraps none itself; write {outer}:NAME with one of "
        f"{', '.join(possible)}"
    )


def option_fields(component: Any) -> dict[str, Any]:
    """The options of a component's class in their order: name -> (type, default), ... for those without a default."""
    hints = typing.get_type_hints(component.__init__, include_extras=True)
    arguments = [a for a in inspect.signature(component.__init__).parameters.values() if a.kind is a.KEYWORD_ONLY]
    return {a.name: (hints.get(a.name, Any), ... if a.default is a.empty else a.default) for a in arguments}


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
        raise ConfigError(f"{where}: {first['msg'].lower()}, got {short_repr(first['input'])}") from e

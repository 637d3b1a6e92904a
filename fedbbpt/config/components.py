"""Components by name: their classes, their options with defaults, and the objects built from these.

The options of a component are the keyword-only arguments of its class; their types and bounds are the annotations. A
prompt that wraps another is named `outer:inner` and takes the options of both.
"""

import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from fedbbpt import registry
from fedbbpt.backend import Embeddings, Modality
from fedbbpt.config.places import made_absolute
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.config.validation import MAX_STRING, check_keys, validate
from fedbbpt.data import Task
from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.prompts import Prompt
from fedbbpt.types import Size


def load_class(kind: str, name: str) -> Any:
    """Loads the class of a component; of `name:source` or `outer:inner`, the class of what precedes the colon."""
    return registry.load(kind, name.partition(":")[0])


def resolve(kind: str, name: str, options: Mapping[str, Any]) -> ComponentConfig:
    """Checks the options of a component and fills in its defaults; paths of a backend's files become absolute.

    >>> resolve("prompts", "dct", {"frequencies": 4}).options
    {'epsilon': 0.1, 'frequencies': 4}

    Raises:
        UnknownName: no such component or option.
        ConfigError: a value of the wrong type or out of bounds, or a wrapping prompt without one to wrap.
    """
    section = kind.removesuffix("s")
    fields: dict[str, Any] = {}
    for component in _classes(kind, name):
        fields |= {key: field for key, field in option_fields(component).items() if key not in fields}
    model = create_model(
        section, __config__=ConfigDict(allow_inf_nan=False, strict=True, str_max_length=MAX_STRING), **fields
    )
    check_keys(f"option of {section} {name!r}", options, fields, f"fedbbpt list {kind} {name.partition(':')[0]}")
    checked: BaseModel = validate(model, dict(options), section)
    resolved: Mapping[str, Any] = checked.model_dump()
    if kind == "tasks":
        resolved = load_class(kind, name).resolve_options(_source(name), resolved)
    elif kind == "backends":  # so that a run finds them wherever it goes on
        resolved = {key: made_absolute(value) for key, value in resolved.items()}
    return validate(ComponentConfig, {"name": name, "options": resolved}, section)


def option_fields(component: Any) -> dict[str, Any]:
    """The options of a component's class in their order: name → (type, default), with ... for no default."""
    hints = typing.get_type_hints(component.__init__, include_extras=True)
    arguments = [a for a in inspect.signature(component.__init__).parameters.values() if a.kind is a.KEYWORD_ONLY]
    return {a.name: (hints.get(a.name, Any), ... if a.default is a.empty else a.default) for a in arguments}


def build(kind: str, component: ComponentConfig, *context: object) -> Any:
    """Builds a component from its resolved options; `context` are the positional arguments of its class."""
    return load_class(kind, component.name)(*context, **component.options)


def build_task(component: ComponentConfig) -> Task:
    """Builds a task with the source that follows the colon in its name, such as a path."""
    task: Task = build("tasks", component, _source(component.name))
    return task


def task_modality(component: ComponentConfig) -> Modality:
    """What a task holds, before it is opened."""
    task: type[Task] = load_class("tasks", component.name)
    return task.modality_of(component.options)


def build_prompt(component: ComponentConfig, size: Size, embeddings: Embeddings | None = None) -> Prompt:
    """Builds a prompt, and the one that it wraps, if any.

    Args:
        component: the prompt with its resolved options; those of both names belong to the wrapping prompt.
        size: of the model's input images (h, w); None for texts.
        embeddings: what a prompt that `uses_embeddings` gets in place of the size.
    """
    return assemble_prompt(_classes("prompts", component.name), component.options, size, embeddings)


def assemble_prompt(
    classes: Sequence[type[Prompt]], options: Mapping[str, Any], size: Size, embeddings: Embeddings | None = None
) -> Prompt:
    """As `build_prompt`, from the class of the prompt and of the one that it wraps, if any."""
    made: Sequence[Any] = classes
    outer, *wrapped = made
    own = option_fields(outer)
    outer_options = {key: value for key, value in options.items() if key in own}
    inner_options = {key: value for key, value in options.items() if key not in own}
    inner = [prompt(embeddings if prompt.uses_embeddings else size, **inner_options) for prompt in wrapped]
    built: Prompt = outer(embeddings if outer.uses_embeddings else size, *inner, **outer_options)
    return built


def modalities_of(name: str) -> tuple[Modality, ...]:
    """What a prompt can be applied to; a wrapping prompt goes with what the wrapped one goes with."""
    modalities: tuple[Modality, ...] = _classes("prompts", name)[-1].modalities
    return modalities


def learns_vocabulary(name: str) -> bool:
    """Whether a prompt, or the one that it wraps, fills its empty option `vocabulary` from the clients' texts."""
    return any(prompt.learns_vocabulary for prompt in _classes("prompts", name))


def uses_embeddings(name: str) -> bool:
    """Whether a prompt, or the one that it wraps, puts vectors in place of words."""
    return any(prompt.uses_embeddings for prompt in _classes("prompts", name))


def _source(task: str) -> str | None:
    """What follows the colon in a task's name."""
    return task.partition(":")[2] or None


def _classes(kind: str, name: str) -> list[Any]:
    """The class behind a name; of a prompt that wraps another, the classes of both, the outer one first."""
    component = load_class(kind, name)
    if kind == "tasks":
        return [component]
    outer, colon, inner = name.partition(":")
    if kind != "prompts" or not component.wraps:
        if colon:
            raise ConfigError(f"{kind.removesuffix('s')} {outer!r} wraps no other: leave out {colon + inner!r}")
        return [component]
    if inner not in (wrappable := _wrappable()):
        raise _wrap_error(outer, inner, wrappable)
    return [component, load_class(kind, inner)]


def _wrappable() -> list[str]:
    """The prompts that another can wrap."""
    return [name for name in registry.names("prompts") if name != "none" and not load_class("prompts", name).wraps]


def _wrap_error(outer: str, inner: str, wrappable: list[str]) -> ConfigError | UnknownName:
    known = {"", *registry.names("prompts")} - {"none"}
    if inner.partition(":")[0] not in known - set(wrappable):
        return UnknownName(f"prompt to be wrapped by {outer!r}", inner, wrappable)
    return ConfigError(
        f"prompt {outer!r} wraps another that wraps none itself; write {outer}:NAME with one of {', '.join(wrappable)}"
    )

"""From settings as users write them to a checked `Config`: names to components, defaults filled in."""

from collections.abc import Mapping
from typing import Any

from fedbbpt.backend import Backend
from fedbbpt.config.components import check_keys, is_white_box, load_class, modalities_of, resolve, validate
from fedbbpt.config.presets import CUT, DEFAULTS, FOR_TEXTS, INSTRUCTED, ONE_PROMPT, SEARCH
from fedbbpt.config.schema import ComponentConfig, Config, Data
from fedbbpt.errors import ConfigError
from fedbbpt.printing import shown
from fedbbpt.split_learning.protocol import Splittable


def make_config(values: Mapping[str, Any]) -> Config:
    """A full, checked config from nested settings such as `{"rounds": 3, "prompt": {"name": "dct", "epsilon": .2}}`.

    Raises:
        UnknownName: a key, component or option that does not exist.
        ConfigError: a value that is out of bounds, or settings that contradict each other.
    """
    check_keys("setting", values, Config.model_fields)
    settings = dict(values)
    check_keys("setting of data", _table("data", settings.get("data", {})), Data.model_fields)
    settings["data"] = validate(Data, dict(settings.get("data", {})), "data")
    settings["task"] = _component("task", settings, DEFAULTS)
    modality = load_class("tasks", settings["task"].name).modality
    defaults: dict[str, Any] = DEFAULTS | (FOR_TEXTS if modality == "text" else {})
    settings["backend"] = _component("backend", settings, defaults)
    worded = modality == "text" and _uses_verbalizer(settings["backend"])
    if worded:
        defaults |= INSTRUCTED
    if cut := is_white_box(_names(settings, defaults)[0]):
        defaults |= CUT
        settings.setdefault("rounds", CUT["rounds"])
    if _one_prompt(settings, defaults):
        defaults |= ONE_PROMPT
        if search := next((SEARCH[name] for name in _names(settings, defaults) if name in SEARCH), None):
            defaults["optimizer"] = search
    elif worded:
        settings.setdefault("rounds", INSTRUCTED["rounds"])
    rest = [section for section in DEFAULTS if section not in ("task", "backend")]
    settings |= {section: _component(section, settings, defaults) for section in rest}
    config = validate(Config, settings)
    read = {
        "backend": load_class("backends", config.backend.name).modalities,
        "prompt": modalities_of(config.prompt.name),
    }
    for section, modalities in read.items():
        name = getattr(config, section).name
        if modality not in modalities:
            raise ConfigError(
                f"the {section} {name!r} does not go with {modality}s, which the task {config.task.name} holds; leave "
                f"out --{section} for one that does"
            )
    if cut and (modality != "image" or not issubclass(load_class("backends", config.backend.name), Splittable)):
        raise ConfigError(
            f"the algorithm {config.algorithm.name!r} cuts a vision transformer: it needs a task of images, and a "
            "backend that gives its model away, such as local-vit"
        )
    if config.readout.name == "none" and not cut:
        raise ConfigError("readout 'none' is for methods that cut the model; use --readout head or identity")
    if config.prompt.name == "none" and config.readout.name == "identity" and config.rounds:
        raise ConfigError(
            "prompt 'none' with readout 'identity' leaves nothing to train; choose another of the two, or rounds=0 to "
            "score the model as it is"
        )
    return config


def _component(section: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> ComponentConfig:
    options, usual = _table(section, settings.get(section, {})), _usual(section, defaults)
    if options.get("name", usual["name"]) == usual["name"]:
        options = usual | options
    name = _name(section, options.pop("name"))
    return validate(ComponentConfig, {"name": name, "options": resolve(f"{section}s", name, options)}, section)


def _uses_verbalizer(backend: ComponentConfig) -> bool:
    """Whether the backend says that it asks a language model for words, with these options."""
    kind: type[Backend] = load_class("backends", backend.name)
    return kind.uses_verbalizer(backend.options)


def _one_prompt(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether the settings leave out what the default algorithm needs: a prompt, a head and a search for candidates."""
    algorithm, prompt, readout, optimizer = _names(settings, defaults)
    return prompt == "none" or (algorithm, readout, optimizer) != ("greedy", "head", "random")


def _names(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """The names of algorithm, prompt, readout and optimizer, which may be unknown ones."""
    sections = ("algorithm", "prompt", "readout", "optimizer")
    tables = [_usual(section, defaults) | _table(section, settings.get(section, {})) for section in sections]
    return [_name(section, table["name"]) for section, table in zip(sections, tables, strict=True)]


def _name(section: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{section}.name is a name, got {shown(value)}")
    return value


def _usual(section: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The default of a section: its name, maybe with options."""
    default = defaults[section]
    return {"name": default} if isinstance(default, str) else default


def _table(section: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{section} is a section with a name and options, got {shown(value)}")
    return dict(value)

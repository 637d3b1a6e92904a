"""From settings as users write them to a checked `Config`: presets and defaults filled in, every component resolved."""

from collections.abc import Mapping
from typing import Any

from fedbbpt.algorithms import Algorithm
from fedbbpt.backend import Backend, Modality
from fedbbpt.config.components import load_class, modalities_of, resolve, task_modality
from fedbbpt.config.presets import OF_PAPERS, OPTIMIZER_FOR, PRESETS, SECTIONS, SELECTABLE
from fedbbpt.config.schema import VERSION, ComponentConfig, Config, Data
from fedbbpt.config.validation import check_keys, validate
from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.printing import short_repr
from fedbbpt.split_learning.protocol import Splittable

SHOW = "fedbbpt config show"  # prints all settings
Settings = Mapping[str, Any]  # as in TOML: plain values, and tables of them


def make_config(values: Settings, preset: str | None = None) -> Config:
    """Makes a full, checked config from nested settings.

    Args:
        values: what differs from the defaults, such as `{"rounds": 3, "prompt": {"name": "dct", "epsilon": 0.2}}`.
        preset: one of `SELECTABLE`, whose defaults hold beside those that the settings imply.

    >>> make_config({"rounds": 3}).rounds
    3
    >>> make_config({}, preset="split").algorithm.name
    'sfprompt'

    Raises:
        UnknownName: a key, component, option or preset does not exist.
        ConfigError: a value is out of bounds, or settings contradict each other.
    """
    if preset is not None and preset not in SELECTABLE:
        raise UnknownName("preset", preset, SELECTABLE)
    if (version := values.get("version", VERSION)) != VERSION:
        raise ConfigError(
            f"the settings have version {short_repr(version)}, and this fedbbpt reads version {VERSION}, in which some "
            "have other names; leave out version, and rename those that are then refused"
        )
    check_keys("setting", values, Config.model_fields, SHOW)
    settings = dict(values)
    check_keys("setting of data", _table("data", settings.get("data", {})), Data.model_fields, SHOW)
    settings["data"] = validate(Data, dict(settings.get("data", {})), "data")
    defaults = dict(PRESETS["default"])
    settings["task"] = _component("task", settings, defaults)
    modality = task_modality(settings["task"])
    if modality == "text":
        defaults |= PRESETS["text"]
    settings["backend"] = _component("backend", settings, defaults)
    defaults |= _implied(settings, defaults, modality, preset)
    settings.setdefault("rounds", defaults["rounds"])
    rest = [section for section in SECTIONS if section not in ("task", "backend")]
    settings |= {section: _component(section, settings, defaults) for section in rest}
    config = validate(Config, settings)
    _check(config, modality)
    return config


def _implied(settings: Settings, defaults: dict[str, Any], modality: Modality, preset: str | None) -> dict[str, Any]:
    """The presets that the settings imply, and the one that is asked for, the later over the earlier."""
    implied: dict[str, Any] = {}
    if preset == "language-model" or (modality == "text" and _uses_verbalizer(settings["backend"])):
        implied |= PRESETS["language-model"]
    if preset == "best":
        implied |= PRESETS["best"]
    split = preset == "split" or _splits_model(_names(settings, defaults | implied)["algorithm"])
    if split:
        implied |= PRESETS["split"]
    of_paper = PRESETS[preset] if preset in OF_PAPERS else {}
    names = _names(settings, defaults | implied)
    if split or of_paper or preset == "single-prompt" or _tunes_single_prompt(names):
        implied = implied | PRESETS["single-prompt"] | of_paper | (PRESETS["split"] if split else {})
        names = _names(settings, defaults | implied)
        algorithm: type[Algorithm] = load_class("algorithms", names["algorithm"])
        if names["prompt"] == "none" and not split and not algorithm.is_decentralised:
            implied |= PRESETS["no-prompt"]
        if of_paper and algorithm.is_decentralised and _is_decentralised(of_paper["algorithm"]["name"]):
            implied["algorithm"] = of_paper["algorithm"] | {"name": names["algorithm"]}  # its options are those of all
        fitting = (table[names[section]] for section, table in OPTIMIZER_FOR.items() if names[section] in table)
        if (optimizer := next(fitting, None)) is not None:
            implied["optimizer"] = {"name": optimizer}
    return implied


def _tunes_single_prompt(names: Mapping[str, str]) -> bool:
    """Whether the settings leave out what the default algorithm needs: a prompt, a head and a search for candidates."""
    needed = {section: PRESETS["default"][section]["name"] for section in ("algorithm", "readout", "optimizer")}
    return names["prompt"] == "none" or any(names[section] != name for section, name in needed.items())


def _check(config: Config, modality: Modality) -> None:
    """Raises ConfigError if components do not go together."""
    accepted = {
        "backend": load_class("backends", config.backend.name).modalities,
        "prompt": modalities_of(config.prompt.name),
    }
    for section, modalities in accepted.items():
        name = getattr(config, section).name
        if modality not in modalities:
            raise ConfigError(
                f"the {section} {name!r} does not go with {modality}s, which the task {config.task.name} holds; leave "
                f"out --{section} for one that does"
            )
    split = _splits_model(config.algorithm.name)
    if split and (modality != "image" or not issubclass(load_class("backends", config.backend.name), Splittable)):
        raise ConfigError(
            f"the algorithm {config.algorithm.name!r} splits a vision transformer: it needs a task of images, and a "
            "backend that gives access to its model, such as local-vit"
        )
    if config.readout.name == "none" and not split:
        raise ConfigError("readout 'none' is for algorithms that split the model; use --readout linear or identity")
    if config.prompt.name == "none" and config.readout.name == "identity" and config.rounds:
        raise ConfigError(
            "prompt 'none' with readout 'identity' leaves nothing to train; choose another prompt or readout, or set "
            "rounds=0 to score the model as it is"
        )


def _component(section: str, settings: Settings, defaults: dict[str, Any]) -> ComponentConfig:
    """The component of a section; the defaults' options hold if it has the defaults' name."""
    options, default = _table(section, settings.get(section, {})), defaults[section]
    if options.get("name", default["name"]) == default["name"]:
        options = default | options
    return resolve(f"{section}s", _name(section, options.pop("name")), options)


def _splits_model(name: str) -> bool:
    """Whether the algorithm splits the model instead of querying it."""
    algorithm: type[Algorithm] = load_class("algorithms", name)
    return algorithm.access == "white-box"


def _is_decentralised(name: str) -> bool:
    """Whether nodes average with their neighbours, without a server."""
    algorithm: type[Algorithm] = load_class("algorithms", name)
    return algorithm.is_decentralised


def _uses_verbalizer(backend: ComponentConfig) -> bool:
    """Whether the backend asks a language model for words, with these options."""
    kind: type[Backend] = load_class("backends", backend.name)
    return kind.uses_verbalizer(backend.options)


def _names(settings: Settings, defaults: dict[str, Any]) -> dict[str, str]:
    """The names of what trains: algorithm, prompt, readout and optimizer, which may be unknown ones."""
    sections = ("algorithm", "prompt", "readout", "optimizer")
    tables = {section: defaults[section] | _table(section, settings.get(section, {})) for section in sections}
    return {section: _name(section, table["name"]) for section, table in tables.items()}


def _name(section: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{section}.name must be a string, got {short_repr(value)}")
    return value


def _table(section: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{section} is a section with a name and options, got {short_repr(value)}")
    return dict(value)

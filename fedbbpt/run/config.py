"""A run's settings: defaults ← TOML file ← command line, all checked before anything starts."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from fedbbpt.errors import ConfigError, RunError
from fedbbpt.printing import shown
from fedbbpt.reading import from_toml, read_text
from fedbbpt.run.defaults import CUT, DEFAULTS, FOR_TEXTS, INSTRUCTED, ONE_PROMPT, SEARCH
from fedbbpt.run.files import reading
from fedbbpt.run.options import LONGEST, check_keys, load_class, modalities_of, resolve, validate
from fedbbpt.web.option_types import Dollars

MOST_ROUNDS, MOST_SHARDS = 10**9, 10_000


class Choice(BaseModel):
    """A component by name, with its options."""

    model_config = ConfigDict(frozen=True, str_max_length=LONGEST)
    name: str
    options: dict[str, Any]


class Data(BaseModel):
    """How a task is dealt out to the clients."""

    model_config = ConfigDict(frozen=True, strict=True)
    clients: PositiveInt | None = None  # None: 10, or as many as somebody's own data can feed
    shots: PositiveInt = 16  # training examples a class, over all clients together
    validation_shots: PositiveInt = 4
    test_limit: PositiveInt | None = None  # test examples over all clients, drawn at random; None = all
    partition: Literal["dirichlet", "shards", "domain"] = "dirichlet"
    alpha: Annotated[float, Field(gt=0)] | None = None  # Dirichlet; inf = every client alike; None = the task's own
    shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)] = 2  # of label-sorted data a client
    empty: Literal["feed", "redraw", "error"] = "feed"  # what becomes of a client without training data


class Config(BaseModel):
    """Everything that decides a run's result, but for the data and the machine."""

    model_config = ConfigDict(frozen=True, strict=True)
    seed: NonNegativeInt = 1
    rounds: Annotated[int, Field(ge=0, le=MOST_ROUNDS)] = 7  # 0: the model and the parameters as they start
    evaluate_every: PositiveInt = 1  # rounds between two looks at the validation data
    patience: NonNegativeInt = 10  # a run ends early after so many rounds without a lower validation loss; 0: never
    max_queries: PositiveInt | None = None
    max_calls: PositiveInt | None = None
    max_cost: Dollars | None = None
    data: Data = Data()
    backend: Choice
    task: Choice
    prompt: Choice
    readout: Choice
    optimizer: Choice
    algorithm: Choice
    engine: Choice

    def to_toml(self) -> str:
        """All settings; what is None is left out."""
        return tomli_w.dumps(_without_none(_flat(self)))


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
    settings["task"] = _choice("task", settings, DEFAULTS)
    modality = load_class("tasks", settings["task"].name).modality
    defaults: dict[str, Any] = DEFAULTS | (FOR_TEXTS if modality == "text" else {})
    settings["backend"] = _choice("backend", settings, defaults)
    worded = modality == "text" and _asked_for_words(settings["backend"])
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
    settings |= {section: _choice(section, settings, defaults) for section in rest}
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
    if cut and (modality != "image" or not hasattr(load_class("backends", config.backend.name), "split")):
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


def read_toml(path: Path) -> dict[str, Any]:
    """Settings from a file.

    Raises:
        ConfigError: no such file, or not TOML.
    """
    try:
        text = read_text(path)
    except ValueError as e:
        raise ConfigError(f"cannot read {path}: {e}") from e
    try:
        return from_toml(text)
    except ValueError as e:
        raise ConfigError(f"{path} is not TOML: {e}") from e


def of_run(folder: Path) -> dict[str, Any]:
    """The settings of the run in a folder. Raises RunError if there is none."""
    with reading(folder):
        if not (folder / "config.toml").is_file():
            raise RunError(f"no run in {folder} (it has no config.toml); start one with fedbbpt train --out {folder}")
    return read_toml(folder / "config.toml")


def override(settings: dict[str, Any], key: str, value: Any) -> None:
    """Sets `section.option`; a new component name drops the options that belonged to the old one."""
    section, _, option = key.partition(".")
    if not option:
        if section in DEFAULTS or section == "data":
            raise ConfigError(f"{section} is a section: set {section}.name or another of its options")
        settings[section] = value
        return
    table = settings.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{section} is no section: set it as {section}=VALUE")
    if option == "name" and table.get("name", DEFAULTS.get(section)) != value:
        table.clear()
    table[option] = value


def parse_assignment(text: str) -> tuple[str, Any]:
    """`key=value` with the value in TOML; a bare word is a string, and .5 the number that TOML writes as 0.5."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"-o wants key=value, got {text!r}")
    for read in (lambda text: from_toml(f"v = {text}")["v"], float):
        with suppress(ValueError):
            return key.strip(), read(value)
    return key.strip(), value.strip()


def _choice(section: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> Choice:
    options, usual = _table(section, settings.get(section, {})), _usual(section, defaults)
    if options.get("name", usual["name"]) == usual["name"]:
        options = usual | options
    name = _name(section, options.pop("name"))
    return validate(Choice, {"name": name, "options": resolve(f"{section}s", name, options)}, section)


def is_white_box(algorithm: Any) -> bool:
    """Whether the method cuts the model instead of querying it."""
    return isinstance(algorithm, str) and bool(getattr(load_class("algorithms", algorithm), "white_box", False))


def _asked_for_words(backend: Choice) -> bool:
    """Whether the backend says that it asks a language model for words, with these options."""
    says = getattr(load_class("backends", backend.name), "asks_for_words", None)
    return says is not None and bool(says(backend.options))


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


def _flat(config: Config) -> dict[str, Any]:
    values = config.model_dump()
    for section in DEFAULTS:
        values[section] = {"name": values[section]["name"]} | values[section]["options"]
    return values


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_none(v) if isinstance(v, dict) else v for k, v in values.items() if v is not None}


def _table(section: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{section} is a section with a name and options, got {shown(value)}")
    return dict(value)

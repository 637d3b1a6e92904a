"""Settings as users write them: nested tables from a TOML file, changed by `key=value` assignments."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from fedbbpt.config.presets import DEFAULTS
from fedbbpt.errors import ConfigError
from fedbbpt.text_files import parse_toml, read_text


def read_toml(path: Path) -> dict[str, Any]:
    """Reads settings from a file.

    Raises:
        ConfigError: the file is missing, or is not TOML.
    """
    try:
        text = read_text(path)
    except ValueError as e:
        raise ConfigError(f"cannot read {path}: {e}") from e
    try:
        return parse_toml(text)
    except ValueError as e:
        raise ConfigError(f"{path} is not TOML: {e}") from e


def override(settings: dict[str, Any], key: str, value: Any) -> None:
    """Sets `section.option` in place; a new component name drops the options of the previous component.

    Raises:
        ConfigError: the key is a section as a whole, or is below something that is not a section.
    """
    section, _, option = key.partition(".")
    if not option:
        if section in DEFAULTS or section == "data":
            raise ConfigError(f"{section} is a section: set {section}.name or another of its options")
        settings[section] = value
        return
    table = settings.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{section} is not a section: set it with {section}=VALUE")
    if option == "name" and table.get("name", DEFAULTS.get(section)) != value:
        table.clear()
    table[option] = value


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parses `key=value`, with the value in TOML; a bare word is a string, and .5 is read as 0.5.

    >>> parse_assignment("prompt.epsilon=.5")
    ('prompt.epsilon', 0.5)

    Raises:
        ConfigError: there is no key or no equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"-o expects key=value, got {text!r}")
    for read in (lambda text: parse_toml(f"v = {text}")["v"], float):
        with suppress(ValueError):
            return key.strip(), read(value)
    return key.strip(), value.strip()

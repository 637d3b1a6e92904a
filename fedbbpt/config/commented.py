"""Settings as a TOML file for people: what they chose, and every other setting as a comment with its meaning."""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import tomli_w

from fedbbpt.config.description import OptionRow, describe, describe_fields, value_text
from fedbbpt.config.presets import SECTIONS
from fedbbpt.config.resolve import make_config
from fedbbpt.config.schema import Config, Data
from fedbbpt.printing import one_line
from fedbbpt.templates import render

WIDTH = 118  # characters of a comment
OPENED = ("task", "backend")  # what the defaults of all other sections follow from


class Line(NamedTuple):
    """One setting of the file."""

    assignment: str  # `rounds = 3`, or `# rounds = 7` where nobody chose it
    type: str
    default: str
    help: list[str]  # lines


class Section(NamedTuple):
    """A component with its settings."""

    name: str
    rows: list[Line]


def commented_toml(settings: Mapping[str, Any], preset: str | None, path: str) -> str:
    """Writes all settings of a run as TOML, from which `make_config` makes the same config without the preset.

    Args:
        settings: what was chosen, nested, as `make_config` takes it.
        preset: as `make_config` takes it; values in which it differs from the defaults count as chosen.
        path: of the file, for its first line.

    Raises:
        UnknownName: as `make_config`.
        ConfigError: as `make_config`.
    """
    config = make_config(settings, preset)
    values = config.to_settings()
    opened = {section: values[section] for section in OPENED}
    names = {section: {"name": values[section]["name"]} for section in SECTIONS}
    defaults = make_config(names | opened).to_settings()  # of what these components leave open
    for section, name in make_config(opened).to_settings().items():
        if section not in OPENED and section in SECTIONS:
            defaults[section]["name"] = name["name"]
    general = _lines(describe_fields(Config), values, settings, defaults)
    data = _lines(describe_fields(Data), values["data"], settings.get("data", {}), defaults["data"])
    sections = []
    for section in SECTIONS:
        described = describe(f"{section}s", values[section]["name"])
        named = OptionRow("name", "str", value_text(values[section]["name"]), described.summary)
        implied = defaults[section] if section not in OPENED else {}
        rows = _lines([named, *described.options], values[section], settings.get(section, {}), implied)
        sections.append(Section(section, rows))
    values = {"path": path, "general": general, "data": data, "sections": sections}
    return render("fedbbpt.config", "commented.toml.j2", values).strip() + "\n"


def _lines(
    rows: Iterable[OptionRow], values: Mapping[str, Any], chosen: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[Line]:
    """The lines of a table: its rows with the values of a config, what was chosen, and what holds without a line."""
    lines = []
    for row in rows:
        value, default = values.get(row.name), row.default
        active = value is not None and (row.name in chosen or (row.name in defaults and value != defaults[row.name]))
        if row.name in defaults:
            default = value_text(defaults[row.name])
        shown = f"{row.name} =" if value is None else " ".join(tomli_w.dumps({row.name: value}).split("\n")).strip()
        about = textwrap.wrap(one_line(row.help).rstrip("."), WIDTH)
        lines.append(Line(shown if active else f"# {shown}", row.type, default, about))
    return lines

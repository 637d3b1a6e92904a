"""Default settings, by what a task holds and what is asked of the model (`presets.toml`)."""

import tomllib
from importlib.resources import files
from typing import Any

_TABLES: dict[str, dict[str, Any]] = tomllib.loads(
    files("fedbbpt.config").joinpath("presets.toml").read_text(encoding="utf-8")
)
OPTIMIZER_FOR: dict[str, dict[str, str]] = _TABLES.pop("optimizer-for")  # section -> component -> optimizer
PRESETS = _TABLES
OF_PAPERS = ("fed-bbpt", "blackvip")  # over `single-prompt`
SELECTABLE = ("language-model", "single-prompt", "split", *OF_PAPERS)  # with --preset, beside what the settings imply
DEFAULTS: dict[str, str] = {section: table["name"] for section, table in PRESETS["default"].items()}
SECTIONS = tuple(DEFAULTS)  # the kinds of component in a config, one each

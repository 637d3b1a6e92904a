"""Default settings, by what a task holds and what is asked of the model (`presets.toml`)."""

import tomllib
from importlib.resources import files
from typing import Any

_TABLES: dict[str, dict[str, Any]] = tomllib.loads(
    files("fedbbpt.config").joinpath("presets.toml").read_text(encoding="utf-8")
)
OPTIMIZER_FOR: dict[str, dict[str, str]] = _TABLES.pop("optimizer-for")  # section -> component -> optimizer
PRESETS = _TABLES
OF_PAPERS = ("fed-bbpt", "blackvip", "dfedavg", "dfedavgm", "dfedsam", "dfedsam-mgs")  # over `single-prompt`
SELECTABLE = ("best", "language-model", "single-prompt", "split", *OF_PAPERS)  # with --preset
DEFAULTS: dict[str, str] = {k: table["name"] for k, table in PRESETS["default"].items() if k != "rounds"}
SECTIONS = tuple(DEFAULTS)  # the kinds of component in a config, one each

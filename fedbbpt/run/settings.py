"""The settings stored in a run's folder."""

from pathlib import Path
from typing import Any

from fedbbpt.config.schema import VERSION
from fedbbpt.config.settings import read_toml
from fedbbpt.errors import RunError
from fedbbpt.printing import short_repr
from fedbbpt.run.atomic_files import reading


def load_run_settings(folder: Path) -> dict[str, Any]:
    """Reads the settings of the run in `folder`.

    Raises:
        RunError: there is no run, or another version of fedbbpt made it.
    """
    with reading(folder):
        if not (folder / "config.toml").is_file():
            raise RunError(f"no run in {folder} (it has no config.toml); start one with fedbbpt train --out {folder}")
    settings = read_toml(folder / "config.toml")
    if (version := settings.get("version", 1)) != VERSION:
        raise RunError(
            f"the run in {folder} has version {short_repr(version)}, and this fedbbpt reads version {VERSION} only; "
            "continue with the fedbbpt that made it, or start a new run"
        )
    return settings

"""The settings stored in a run's folder."""

from pathlib import Path
from typing import Any

from fedbbpt.config.settings import read_toml
from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import reading


def load_run_settings(folder: Path) -> dict[str, Any]:
    """Reads the settings of the run in `folder`. Raises RunError if there is no run."""
    with reading(folder):
        if not (folder / "config.toml").is_file():
            raise RunError(f"no run in {folder} (it has no config.toml); start one with fedbbpt train --out {folder}")
    return read_toml(folder / "config.toml")

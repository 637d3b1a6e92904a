"""Checks of the folder of a new run."""

import os
from pathlib import Path

from fedbbpt.config import Config
from fedbbpt.errors import RunError
from fedbbpt.text_files import absolute_path


def check_new_run_folder(out: Path, config: Config) -> None:
    """Checks that a new run may use a folder, before anything is written to it.

    Raises:
        RunError: the folder holds files of another run, or is inside the folder of the task's data, where the run's
            files would be read as data later on.
    """
    if (out / "config.toml").exists():
        raise RunError(f"{out} already holds a run: continue it with --resume {out}, or choose another --out")
    parts = [out / "metrics.jsonl", out / "summary.json", *(out / "checkpoints").glob("*")]
    if left := [part for part in parts if part.exists()]:
        raise RunError(f"{out} holds parts of a run, such as {left[0]}, without its config; choose another --out")
    check_outside_data(out, config.task.name)


def check_outside_data(out: Path, task: str) -> None:
    """Raises RunError if a folder for results is inside the folder of the task's data."""
    if (data := _data_folder(task)) and out.resolve().is_relative_to(data):
        raise RunError(f"{out} would be inside the folder of the data, {data}; choose another --out")


def _data_folder(task: str) -> Path | None:
    """The folder in a task's name, such as `folder:PATH`, if there is one."""
    argument = task.partition(":")[2]
    try:
        path = absolute_path(argument) if argument else None
    except ValueError:  # the task will say so
        return None
    return path if path and os.path.isdir(path) else None  # noqa: PTH112 - where Path.is_dir raises, it says no

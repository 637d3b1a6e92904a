"""Where a new run may be."""

import os
from pathlib import Path

from fedbbpt.config import Config
from fedbbpt.errors import RunError
from fedbbpt.text_files import absolute_path


def check_new_run_folder(out: Path, config: Config) -> None:
    """Checks the folder of a new run before anything is written into it.

    Raises:
        RunError: it holds anything of a run, but for what may come before its first query; or it is in the folder of
            the task's data, where the run's own files would be taken for data afterwards.
    """
    if (out / "config.toml").exists():
        raise RunError(f"{out} already holds a run: continue it with --resume {out}, or choose another --out")
    parts = [out / "metrics.jsonl", out / "summary.json", *(out / "checkpoints").glob("*")]
    if left := [part for part in parts if part.exists()]:
        raise RunError(f"{out} holds parts of a run, such as {left[0]}, without its config; choose another --out")
    check_outside_data(out, config.task.name)


def check_outside_data(out: Path, task: str) -> None:
    """Raises RunError if a folder for results is in the folder of the task's data."""
    if (data := _data_folder(task)) and out.resolve().is_relative_to(data):
        raise RunError(f"{out} would be inside the folder of the data, {data}; choose another --out")


def _data_folder(task: str) -> Path | None:
    """The folder that a task's name tells, if it tells one."""
    argument = task.partition(":")[2]
    try:
        path = absolute_path(argument) if argument else None
    except ValueError:  # the task will say so
        return None
    return path if path and os.path.isdir(path) else None  # noqa: PTH112 - where Path.is_dir raises, it says no

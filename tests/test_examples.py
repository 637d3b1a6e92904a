"""The examples run, and their components keep their contracts."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from fedbbpt.testing import check_backend, check_task

EXAMPLES = Path(__file__).parents[1] / "examples"
OWN = sorted(path.name for path in EXAMPLES.glob("own_*.py"))


@pytest.mark.parametrize("name", ["own_algorithm.py", "own_callback.py", "own_optimizer.py", "own_prompt.py"])
def test_runs(name: str) -> None:
    done = subprocess.run([sys.executable, EXAMPLES / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_backend_and_the_task_keep_their_contracts() -> None:
    check_backend(runpy.run_path(str(EXAMPLES / "own_backend.py"))["Thumbnails"], sharpness=20.0)
    check_task(runpy.run_path(str(EXAMPLES / "own_task.py"))["Stripes"], images_per_class=20)


@pytest.mark.parametrize("name", OWN)
def test_stays_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= 60

"""A third party's backend, installed beside the package without touching it, and pictures to use it on."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
MOST = 150_000  # kB of memory at the peak, a whole run in one process
HEAVY = {"networkx", "torch", "transformers", "timm", "sklearn", "pandas", "pyarrow", "matplotlib", "cma", "cmaes"}
# The peak of this program alone: `ru_maxrss` also counts the process that it was started from.
PROGRAM = """
import atexit, json, pathlib, sys


def tell():
    status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    pathlib.Path(report).write_text(json.dumps([int(status["VmHWM"].split()[0]), sorted(sys.modules)]))


report = sys.argv.pop(1)
atexit.register(tell)
from fedbbpt.cli import main

main()
"""


@pytest.fixture(scope="session")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on the path, is an installed distribution with the example's backend as its entry point."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(EXAMPLES / "own_backend.py", site)
    info = site / "own_backend-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedbbpt.backends]\nthumbnails = own_backend:Thumbnails\n")
    return site


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with circles and squares, as the example draws them."""
    root = tmp_path_factory.mktemp("images") / "shapes"
    runpy.run_path(str(EXAMPLES / "own_images.py"))["draw_shapes"](root)
    return root


@pytest.fixture(scope="session")
def fedbbpt(third_party: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs the command line in a process of its own, with the third party's backend installed."""

    def run(*arguments: object, cwd: Path | None = None, check: bool = False) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "fedbbpt", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(third_party)}
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=check)

    return run


@pytest.fixture(scope="session")
def started(third_party: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the command line in a process of its own, to be disturbed; its output comes line by line."""

    def start(*arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-u", "-m", "fedbbpt", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(third_party)}, **pipes)

    return start


@pytest.fixture(scope="session")
def interrupted(started: Callable[..., "subprocess.Popen[str]"]) -> Callable[..., str]:
    """Ctrl-C as soon as the command prints a certain text; returns what it says on stderr."""

    def interrupt(*arguments: object, at: str) -> str:
        process = started(*arguments)
        assert process.stdout is not None
        for line in process.stdout:
            if at in line:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        assert process.returncode == 130
        assert "Traceback" not in errors
        return errors

    return interrupt


@pytest.fixture(scope="session")
def killed(started: Callable[..., "subprocess.Popen[str]"]) -> Callable[..., None]:
    """Kills the command, without warning, some seconds after its start, or after it has printed a certain text."""

    def kill(*arguments: object, after: float, at: str = "") -> None:
        process = started(*arguments)
        assert process.stdout is not None
        while at and at not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(after)
        process.kill()
        process.communicate()

    return kill


@pytest.fixture(scope="session")
def quick(shapes: Path) -> list[str]:
    """Options of a run that takes a moment and needs no torch."""
    return [
        *(
            "--backend",
            "thumbnails",
            "--task",
            f"folder:{shapes}",
            "--clients",
            "3",
            "--shots-per-class",
            "8",
            "--rounds",
            "6",
        ),
        *("-o", "task.provider_shots_per_class=2", "-o", "data.validation_shots_per_class=4"),
    ]


@pytest.fixture(scope="session")
def finished(fedbbpt: Callable[..., Any], quick: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed. Read only."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    fedbbpt("train", *quick, "--out", folder, check=True)
    return folder


@pytest.fixture(scope="session")
def outcome(outcome: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """As for all tests, and the config."""
    return lambda folder: (*outcome(folder), (folder / "config.toml").read_text())


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., None]:
    """Runs the command line in a process of its own, and sees that it stays small and without torch."""

    def run(environment: dict[str, str], *arguments: object) -> None:
        report = tmp_path / "report.json"
        command = [sys.executable, "-c", PROGRAM, *map(str, (report, *arguments))]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
        assert done.returncode == 0, done.stderr
        peak, modules = json.loads(report.read_text())
        assert not HEAVY & set(modules)
        assert peak < MOST

    return run

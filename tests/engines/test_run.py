"""Whole runs with clients in processes of their own, through the command line and with the embedded model."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fedbbpt.algorithms import ClientMemory
from fedbbpt.config import make_config
from fedbbpt.run import checkpoint
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.run.settings import load_run_settings
from fedbbpt.run.simulation import open_simulation

SETTINGS = [
    "--clients",
    "3",
    "--shots-per-class",
    "1",
    "-o",
    "data.validation_shots_per_class=1",
    "-o",
    "data.test_limit=6",
]
RUN = ["train", "--algorithm", "sfprompt", *SETTINGS, "--rounds", "2"]
AWAY = ["--engine", "processes"]
Cli = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Starts the command line in a process of its own, with the algorithm `dying-client` installed."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(Path(__file__).parent / "elsewhere" / "dying_client.py", site)
    (info := site / "dying_client-1.0.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dying-client\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedbbpt.algorithms]\ndying-client = dying_client:DyingClient\n")

    def start(*arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-u", "-m", "fedbbpt", *map(str, arguments)]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(site)}, **pipes)

    return start


@pytest.fixture(scope="session")
def fedbbpt(in_process: Callable[..., "subprocess.CompletedProcess[str]"]) -> Callable[..., str]:
    """Runs the command line to its end in this process, which has imported torch, and gives what it said."""

    def run(*arguments: object) -> str:
        done = in_process(*arguments, check=True)
        assert not done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def alone(fedbbpt: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one process. Read only."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    fedbbpt(*RUN, "--out", folder)
    return folder


def _rows(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_the_same_bits_as_in_one_process_also_after_ctrl_c_which_leaves_nobody(
    start: Cli,
    fedbbpt: Callable[..., str],
    alone: Path,
    gone: Callable[..., bool],
    children_of: Callable[[int], list[str]],
    outcome: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    with start(*RUN, *AWAY, "--out", tmp_path / "run") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "round    1/2" in line:
                break
        workers = children_of(process.pid)
        assert len(workers) == 3  # two, and what Python keeps for their resources
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert gone(*map(int, workers))
    fedbbpt("train", "--resume", tmp_path / "run")
    assert outcome(tmp_path / "run") == outcome(alone)
    scored = fedbbpt("eval", tmp_path / "run")
    assert f"{json.loads((alone / 'summary.json').read_text())['test_accuracy']:.3f}" in scored


@pytest.mark.parametrize("settings", [(), ("--algorithm", "sfprompt", "-o", "algorithm.trainable=full")])
def test_any_worker_serves_any_client_with_the_bits_of_one_process(
    fedbbpt: Callable[..., str], outcome: Callable[[Path], Any], tmp_path: Path, settings: tuple[str, ...]
) -> None:
    run = ["train", *SETTINGS, *settings, "--rounds", "2"]
    fedbbpt(*run, "--out", tmp_path / "serial")
    fedbbpt(*run, *AWAY, "--out", tmp_path / "processes")  # two workers for three clients, which change places
    assert outcome(tmp_path / "serial") == outcome(tmp_path / "processes")
    memories = list((tmp_path / "serial" / "clients").glob("*/*.safetensors"))
    assert bool(memories) == (not settings)  # sfprompt's clients remember nothing


def test_a_client_that_dies_in_a_round_is_missing_in_that_round_alone(start: Cli, tmp_path: Path) -> None:
    dying = ["train", "--algorithm", "dying-client", *SETTINGS, "--rounds", "3"]
    with start(*dying, *AWAY, "--out", tmp_path / "run") as process:
        printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert not errors
    said = printed.splitlines()
    note = "client-001 dropped out of round 2 (killed by SIGKILL); its update is missing"
    assert [line for line in said if "missing" in line] == [note]
    rows = _rows(tmp_path / "run")
    assert [row.get("dropped_clients") for row in rows] == [None, None, ["client-001"], None, None]
    asked = [after["queries"] - before["queries"] for before, after in pairwise(rows[:4])]
    assert asked[0] == asked[2] > asked[1]
    config = load_run_settings(tmp_path / "run")
    config["algorithm"]["name"], config["engine"] = "sfprompt", {"name": "serial"}
    experiment = open_simulation(make_config(config))
    engine = experiment.open_engine({client.id: ClientMemory() for client in experiment.clients})
    state = experiment.algorithm.init()
    for missing in (None, "client-001", None):
        there = [client for client in experiment.client_sizes if client.id != missing]
        pool = MeteredClientPool(engine, experiment.algorithm, there, state)
        state, _ = experiment.algorithm.round(state, pool.send)
    progress, _ = checkpoint.load_last(tmp_path / "run" / "checkpoints")
    assert progress is not None
    assert progress.state.round == state.round == 3
    assert progress.state.parameters.keys() == state.parameters.keys()
    for part, values in state.parameters.items():
        assert progress.state.parameters[part].tobytes() == values.tobytes()


def test_a_paid_service_is_asked_from_one_process_only(start: Cli, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(80)))
    service = ["--backend", "openai", "-o", "backend.model=none", "-o", "backend.base_url=http://127.0.0.1:9/v1"]
    with start("train", "--task", f"csv:{tmp_path / 'texts.csv'}", *service, *AWAY, "--out", tmp_path / "run") as run:
        _, errors = run.communicate()
    assert run.returncode == 1
    assert errors.count("\n") == 1
    assert "use --engine serial" in errors
    assert not (tmp_path / "run").exists()

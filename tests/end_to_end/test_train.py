"""A whole run through the command line: what it leaves behind, the same bits twice, and after any interruption."""

import json
import random
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Outcome = Callable[[Path], Any]
Interrupted = Callable[..., str]
Killed = Callable[..., None]


def test_a_third_party_backend_trains_without_a_change_here(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["classes"] == ["circle", "square"]
    assert summary["validation_accuracy"] >= 0.5
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["backend"]["model"] == "thumbnails"


def test_the_folder_holds_everything(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    records = {"config.toml", "environment.json", "provider.safetensors", "metrics.jsonl", "summary.json"}
    assert names == records | {"checkpoints", "clients", "report.html"}
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == [
        f"round-{n:06d}.{kind}" for n in (5, 6) for kind in ("json", "safetensors")
    ]
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [(row["round"], row["subset"]) for row in rows[:-1]] == [(n, "validation") for n in range(7)]
    assert rows[-1]["subset"] == "test"
    wanted = {
        "round",
        "subset",
        "accuracy",
        "loss",
        "queries",
        "requests",
        "bytes_up",
        "bytes_down",
        "exchanges",
        "seconds",
    }
    assert all(wanted <= set(row) for row in rows)
    assert [row["queries"] for row in rows] == sorted(row["queries"] for row in rows)


def _planned(fedbbpt: Cli, *options: str) -> dict[str, tuple[int, int]]:
    """Queries and requests by purpose, as a dry run prints them."""
    lines = [
        line.replace(",", "").split()
        for line in fedbbpt("train", *options, "--dry-run", check=True).stdout.splitlines()
    ]
    return {line[0]: (int(line[1]), int(line[4])) for line in lines if line[2:3] == ["queries"]}


def test_dry_run_counts_exactly_what_a_run_asks(fedbbpt: Cli, quick: list[str], tmp_path: Path) -> None:
    options = [*quick, "--algorithm", "fedavg", "--rounds", "2"]
    fedbbpt("train", *options, "--out", tmp_path / "run", check=True)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert _planned(fedbbpt, *options)["total"] == (summary["queries"], summary["requests"])
    assert sum(summary["queries_by_purpose"].values()) == summary["queries"]
    said = fedbbpt("train", *options, "--dry-run", check=True).stdout
    (most,) = re.findall(r"^exchanges +([\d,]+) at most$", said, re.MULTILINE)
    assert summary["exchanges"] <= int(most.replace(",", ""))


def test_a_run_asks_what_was_planned(fedbbpt: Cli, quick: list[str], finished: Path) -> None:
    planned, summary = _planned(fedbbpt, *quick), json.loads((finished / "summary.json").read_text())
    asked = summary["queries_by_purpose"]
    for purpose in ("training", "validation", "baseline", "test"):
        assert planned[purpose][0] == asked[purpose]
    assert asked["test"] == sum(sum(client["test"]) for client in summary["clients"].values())
    assert sum(asked.values()) == summary["queries"]


def test_max_queries_is_never_exceeded(fedbbpt: Cli, quick: list[str], finished: Path, tmp_path: Path) -> None:
    limit = _planned(fedbbpt, *quick)["total"][0] - 1
    fedbbpt("train", *quick, "--max-queries", limit, "--out", tmp_path / "run", check=True)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["queries"] <= limit
    assert summary["rounds"] == 5


def test_the_same_seed_gives_the_same_bits(
    fedbbpt: Cli, quick: list[str], finished: Path, tmp_path: Path, outcome: Outcome
) -> None:
    fedbbpt("train", *quick, "--out", tmp_path / "again", check=True)
    assert outcome(tmp_path / "again") == outcome(finished)
    fedbbpt("train", *quick, "--seed", 2, "--out", tmp_path / "other", check=True)
    assert outcome(tmp_path / "other")[2] != outcome(finished)[2]


def test_killed_at_ten_random_moments_and_resumed_it_ends_the_same(
    fedbbpt: Cli, killed: Killed, quick: list[str], finished: Path, tmp_path: Path, outcome: Outcome
) -> None:
    moments = random.Random(0)
    started = time.perf_counter()
    fedbbpt("train", *quick, "--out", tmp_path / "timed", check=True)
    duration = time.perf_counter() - started
    reached = set()
    for attempt in range(10):
        folder = tmp_path / f"killed-{attempt}"
        if attempt % 2:
            killed("train", *quick, "--out", folder, after=moments.uniform(0.3, 0.95) * duration)
        else:  # however fast the machine is, some kills hit the rounds
            killed("train", *quick, "--out", folder, after=0, at=f"round    {moments.randint(1, 5)}/")
        reached.add(len(list((folder / "checkpoints").glob("*.json"))) if folder.exists() else 0)
        begun = (folder / "config.toml").exists()
        fedbbpt("train", *(["--resume", folder] if begun else [*quick, "--out", folder]), check=True)
        assert outcome(folder) == outcome(finished), f"attempt {attempt}"
    assert reached & {1, 2}, "no kill hit the rounds"


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(
    fedbbpt: Cli, interrupted: Interrupted, quick: list[str], finished: Path, tmp_path: Path, outcome: Outcome
) -> None:
    folder = tmp_path / "run"
    assert f"fedbbpt train --resume {folder}" in interrupted("train", *quick, "--out", folder, at="round    2")
    fedbbpt("train", "--resume", folder, check=True)
    assert outcome(folder) == outcome(finished)


def test_resuming_a_finished_run_changes_nothing(
    fedbbpt: Cli, quick: list[str], finished: Path, tmp_path: Path, outcome: Outcome
) -> None:
    folder = tmp_path / "run"
    fedbbpt("train", *quick, "--out", folder, check=True)
    fedbbpt("train", "--resume", folder, check=True)
    assert outcome(folder) == outcome(finished)


@pytest.mark.parametrize(
    "options",
    [
        ["--prompt", "none"],
        ["--prompt", "dct"],
        ["--prompt", "padding", "--optimizer", "sep-cma", "-o", "algorithm.server_optimizer=adam"],
        ["--prompt", "subspace:padding", "-o", "prompt.dim=20", "-o", "algorithm.num_prompts=2"],
        ["--prompt", "reprogram", "--readout", "label-map"],
        ["--readout", "identity", "--optimizer", "spsa"],
    ],
)
def test_other_algorithms_train_and_report(fedbbpt: Cli, quick: list[str], options: list[str], tmp_path: Path) -> None:
    fedbbpt("train", *quick, *options, "--rounds", 2, "--out", tmp_path / "run", check=True)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert sum(summary["queries_by_purpose"].values()) == summary["queries"]
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000


def test_eval_agrees_with_the_run(fedbbpt: Cli, finished: Path) -> None:
    printed = fedbbpt("eval", finished, check=True).stdout
    summary = json.loads((finished / "summary.json").read_text())
    evaluation = finished / "evaluation.json"
    assert json.loads(evaluation.read_text())["test_accuracy"] == summary["test_accuracy"]
    evaluation.unlink()
    assert f"{summary['test_accuracy']:.3f}" in printed


def test_predict_names_classes(fedbbpt: Cli, finished: Path, shapes: Path) -> None:
    files = [shapes / "circle" / "000.png", shapes / "square" / "001.png"]
    lines = fedbbpt("predict", finished, *files, check=True).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(file) for file in files]
    assert all(line.split("\t")[1] in ("circle", "square") for line in lines)
    assert all(0.5 <= float(line.split("\t")[2]) <= 1 for line in lines)

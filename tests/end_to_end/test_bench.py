"""A bench through the command line: what it leaves behind, failures, and after any interruption."""

import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def small(shapes: Path) -> list[str]:
    """A bench of six quick runs that needs no torch."""
    return [
        *("--tasks", f"folder:{shapes}", "--methods", "zero-shot,head,default", "--seeds", "1,2", "--limit", "20"),
        *("-o", "backend.name=thumbnails", "-o", "rounds=2", "-o", "data.clients=3", "-o", "data.shots_per_class=6"),
        *("-o", "task.provider_shots_per_class=2"),
    ]


def results(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop("seconds", None)
    return rows


@pytest.fixture(scope="session")
def benched(fedbbpt: Cli, small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench that nothing disturbed. Read only."""
    folder = tmp_path_factory.mktemp("benches") / "undisturbed"
    fedbbpt("bench", *small, "--out", folder, check=True)
    return folder


def test_every_cell_is_a_run_and_a_row(benched: Path) -> None:
    rows = results(benched)
    assert [(row["method"], row["seed"]) for row in rows] == [
        (m, s) for m in ("zero-shot", "head", "default") for s in (1, 2)
    ]
    for row in rows:
        summary = json.loads((benched / row["folder"] / "summary.json").read_text())
        assert row["accuracy"] == summary["test_accuracy"]
        assert row["queries"] == summary["queries"]
        assert row["test_examples"] == 20
        assert (benched / row["folder"] / "report.html").is_file()
    for kind in ("md", "csv", "html"):
        assert "default" in (benched / f"leaderboard.{kind}").read_text()


def test_two_at_a_time_give_the_same(fedbbpt: Cli, small: list[str], benched: Path, tmp_path: Path) -> None:
    fedbbpt("bench", *small, "--jobs", 2, "--out", tmp_path / "bench", check=True)
    assert results(tmp_path / "bench") == results(benched)


def test_killed_at_random_moments_and_resumed_it_ends_the_same(
    fedbbpt: Cli, killed: Callable[..., None], small: list[str], benched: Path, tmp_path: Path
) -> None:
    moments, hit = random.Random(0), 0
    started = time.perf_counter()
    fedbbpt("bench", *small, "--out", tmp_path / "timed", check=True)
    duration = time.perf_counter() - started
    for attempt in range(4):
        folder = tmp_path / f"killed-{attempt}"
        killed("bench", *small, "--out", folder, after=moments.uniform(0.3, 0.95) * duration)
        begun = (folder / "bench.toml").exists()
        hit += begun
        fedbbpt("bench", *(["--resume", folder] if begun else [*small, "--out", folder]), check=True)
        assert results(folder) == results(benched), f"attempt {attempt}"
        for kind in ("md", "csv"):
            assert (folder / f"leaderboard.{kind}").read_text() == (benched / f"leaderboard.{kind}").read_text()
    assert hit, "no kill hit the bench; the moments are badly chosen"


def test_ctrl_c_says_how_to_go_on(interrupted: Callable[..., str], small: list[str], tmp_path: Path) -> None:
    said = interrupted("bench", *small, "--out", tmp_path / "bench", at="2/6")
    assert f"fedbbpt bench --resume {tmp_path / 'bench'}" in said
    assert len(results(tmp_path / "bench")) >= 2
    assert "zero-shot" in (tmp_path / "bench" / "leaderboard.md").read_text()


def test_a_run_that_fails_is_recorded_and_the_others_go_on(fedbbpt: Cli, small: list[str], tmp_path: Path) -> None:
    done = fedbbpt("bench", *small, "--budget", 100, "--seeds", "1", "--out", tmp_path / "bench")
    assert done.returncode == 1
    assert "1 of 3 runs failed" in done.stderr
    assert "Traceback" not in done.stderr
    errors = {row["method"]: row["error"] for row in results(tmp_path / "bench")}
    assert errors["zero-shot"] is errors["head"] is None
    assert "max_queries=100 is too little" in errors["default"]
    assert "max_queries=100 is too little" in (tmp_path / "bench" / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--suite", "smok"], "Did you mean 'smoke'"),
        (["--methods", "heads"], "Did you mean 'head'"),
        (["--seeds", "one"], "--seeds wants numbers"),
        (["-o", "round=3"], "Did you mean 'rounds'"),
        (["--tasks", "folder:."], "inside the folder of the data"),
        (["--tasks", ""], "a bench needs at least one task"),
        (["--resume", "nowhere"], "no bench in nowhere"),
    ],
)
def test_mistakes_are_one_sentence(fedbbpt: Cli, options: list[str], said: str, tmp_path: Path) -> None:
    done = fedbbpt("bench", *options, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_bench_is_not_overwritten(fedbbpt: Cli, small: list[str], benched: Path) -> None:
    done = fedbbpt("bench", *small, "--out", benched)
    assert done.returncode == 1
    assert f"--resume {benched}" in done.stderr

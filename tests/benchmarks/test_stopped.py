"""A bench that does not come to its end: stopped, out of memory, damaged, or gone on with in another way."""

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedbbpt.cli import main
from fedbbpt.errors import RunError
from fedbbpt.run.atomic_files import checksum
from fedbbpt.run.records import to_record
from fedbbpt_benchmarks.bench import runner
from fedbbpt_benchmarks.bench.plan import Bench

METHODS = ("zero-shot", "head")
SUMMARY = {
    **{"test_accuracy": 0.5, "test_macro_f1": 0.4, "majority_accuracy": 0.2, "zero_shot_accuracy": 0.5},
    **{"clients": {"client-000": {"test": [3, 4]}}, "queries": 7, "requests": 1, "tokens": 0},
    **{"exchanges": 0, "bytes_up": 0, "bytes_down": 0, "seconds": 1.0, "billed": None},
}
FACTS = {
    **{"modality": "image", "source": None, "classes": [], "head": None},
    **{"shots": False, "question": "", "label_words": None},
}


def environment(folder: Path) -> dict[str, object]:
    """What the run in a folder says of itself."""
    sums = {name: checksum((folder / name).read_bytes()) for name in ("summary.json", "metrics.jsonl")}
    return {
        **{"fedbbpt": "1", "python": "3", "packages": {"torch": None}, "run": "r", "setup": []},
        **{"backend": {"model": "m", "classes": []}, "config_sha256": "", "data_sha256": ""},
        **{"task": FACTS, "files": sums},
    }


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`cells(*ends)`: a cell leaves what a run leaves; after as many as there are ends, the next one raises."""

    def prepare(ends: list[BaseException | None]) -> None:
        def run_cell(bench: Bench, out: Path, cell: object) -> None:
            if (end := ends.pop(0)) is not None:
                raise end
            folder = out / cell.path
            folder.mkdir(parents=True)
            (folder / "summary.json").write_text(json.dumps(SUMMARY))
            (folder / "metrics.jsonl").touch()
            (folder / "environment.json").write_bytes(to_record(environment(folder)))
            (folder / "report.html").touch()

        monkeypatch.setattr(runner, "run_cell", run_cell)

    return prepare


def bench(*options: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, options)])


def start(out: Path) -> Result:
    return bench("--tasks", "digits", "--methods", ",".join(METHODS), "--out", out)


def rows(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("done", [0, 1])
def test_stopped_it_shows_what_is_finished_and_how_to_go_on(cells, tmp_path: Path, done: int) -> None:
    cells([*[None] * done, KeyboardInterrupt()])
    stopped = start(tmp_path / "bench")
    assert stopped.exit_code == 130
    assert f"Continue with: fedbbpt bench --resume {tmp_path / 'bench'}" in stopped.stderr
    assert [row["method"] for row in rows(tmp_path / "bench")] == list(METHODS[:done])
    for kind in ("md", "csv", "html"):
        assert (METHODS[0] in (tmp_path / "bench" / f"leaderboard.{kind}").read_text()) or not done
    cells([None] * (2 - done))
    assert bench("--resume", tmp_path / "bench").exit_code == 0
    assert [row["method"] for row in rows(tmp_path / "bench")] == list(METHODS)


def test_the_leaderboard_is_written_after_each_run(cells, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cells([None, None])
    run_cell, seen = runner.run_cell, list[list[bool]]()

    def look_first(bench: Bench, out: Path, cell: object) -> None:
        seen.append([(out / f"leaderboard.{kind}").exists() for kind in ("md", "csv", "html")])
        run_cell(bench, out, cell)

    monkeypatch.setattr(runner, "run_cell", look_first)
    assert start(tmp_path / "bench").exit_code == 0
    assert seen == [[False] * 3, [True] * 3]


def test_the_leaderboard_is_written_whatever_goes_wrong(cells, tmp_path: Path) -> None:
    cells([None, RunError("cannot write there: the disk is full")])
    failed = start(tmp_path / "bench")
    assert failed.exit_code == 1
    assert "the disk is full" in failed.stderr
    assert METHODS[0] in (tmp_path / "bench" / "leaderboard.md").read_text()


class Died:
    """A pool of processes, the first of which died at once."""

    def __init__(self, *_: object) -> None:
        self.children: list[object] = []

    def __enter__(self) -> "Died":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, *_: object) -> "Future[None]":
        future: Future[None] = Future()
        future.set_exception(BrokenProcessPool("died"))
        return future

    def shutdown(self, **_: object) -> None:
        pass


def test_a_process_that_dies_is_said_and_the_others_are_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Child:
        ended = False

        def terminate(self) -> None:
            self.ended = True

    ours, theirs = Child(), Child()
    alive = [[theirs], [theirs, ours]]
    monkeypatch.setattr(multiprocessing, "active_children", lambda: alive.pop(0))
    monkeypatch.setattr(runner, "ProcessPoolExecutor", Died)
    plan = Bench(("digits",), METHODS, (1,), {})
    with pytest.raises(RunError, match=r"a process of the bench died, .* --resume .*, and fewer --jobs"):
        runner.run(plan, tmp_path, 2, lambda cell, error: None)
    assert ours.ended
    assert not theirs.ended


@pytest.mark.parametrize("options", [["--methods", "head"], ["--seeds", "2"], ["-o", "rounds=3"], ["--out", "x"]])
def test_a_bench_that_goes_on_keeps_its_settings(cells, tmp_path: Path, options: list[str]) -> None:
    cells([None, None])
    start(tmp_path / "bench")
    refused = bench("--resume", tmp_path / "bench", *options)
    assert refused.exit_code == 1
    assert f"with its own settings: leave out {options[0]}" in refused.stderr


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"test_accuracy": 1}', '{"billed": 3}'])
def test_a_damaged_summary_costs_its_own_row_only(cells, tmp_path: Path, text: str) -> None:
    cells([None, None])
    start(tmp_path / "bench")
    (tmp_path / "bench" / rows(tmp_path / "bench")[0]["folder"] / "summary.json").write_text(text)
    again = bench("--resume", tmp_path / "bench")
    assert again.exit_code == 1
    assert "1 of 2 runs failed" in again.stderr
    damaged, whole = rows(tmp_path / "bench")
    assert "is damaged" in damaged["error"]
    assert whole["error"] is None


@pytest.mark.parametrize("text", ["", "tasks = 3", 'tasks = ["digits"]\nmethods = []\nseeds = [1]', "no = toml = 1"])
def test_a_plan_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "bench.toml").write_text(text)
    refused = bench("--resume", tmp_path)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: ")
    assert "bench" in refused.stderr

"""Whatever a user may get wrong: one clear sentence, an exit code other than 0, no traceback, nothing lost."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from fedbbpt.cli import main


@pytest.fixture
def refuse(third_party: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must fail; returns its one sentence."""
    monkeypatch.syspath_prepend(third_party)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code not in (0, None), result.output
        assert "Traceback" not in result.stderr
        (sentence,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        return sentence

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "digit"], "Did you mean 'digits'"),
        (["--backend", "local-vitt"], "Did you mean 'local-vit'"),
        (["--prompt", "affin"], "Did you mean 'affine'"),
        (["-o", "optimzer.a=1"], "Did you mean 'optimizer'"),
        (["-o", "prompt.epsiln=1"], "Did you mean 'epsilon'"),
        (["-o", "data.shots_per_clas=1"], "Did you mean 'shots_per_class'"),
        (["-o", "rounds"], "key=value"),
        (["-o", "prompt=affine"], "prompt is a section"),
        (["-o", "prompt.epsilon=-0.1"], "prompt.epsilon: input should be greater than 0, got -0.1"),
        (["-o", "prompt.epsilon=nan"], "prompt.epsilon"),
        (["-o", "prompt.epsilon=big"], "prompt.epsilon"),
        (["--rounds", "-1"], "rounds: input should be greater than or equal to 0, got -1"),
        (["--shots-per-class", "0"], "data.shots_per_class: input should be greater than 0"),
        (["--rounds", "1000000000000"], "rounds: input should be less than or equal to 1000000000"),
        (["--clients", "1000000000"], "1000000000 clients cannot share"),
        (
            ["-o", "data.shards_per_client=1000000000"],
            "data.shards_per_client: input should be less than or equal to 10000",
        ),
        (
            ["-o", "optimizer.population_size=1000000000"],
            "optimizer.population_size: input should be less than or",
        ),
        (
            ["-o", "algorithm.num_prompts=1000000000"],
            "algorithm.num_prompts: input should be less than or equal to 1024",
        ),
        (["-o", "algorithm.name=[]"], "algorithm.name must be a string, got []"),
        (["-o", "optimizer.name={a = 1}"], "optimizer.name must be a string, got {'a': 1}"),
        (["-o", "rounds=inf"], "rounds: input should be a valid integer, got inf"),
        (["-o", "rounds=2026-01-01"], "rounds: input should be a valid integer"),
        (["--task", "d" * 5000], "unknown task 'ddd"),
        (["--clients", "0"], "data.clients"),
        (["--seed", "-1"], "seed"),
        (["--max-queries", "0"], "max_queries"),
        (["--task", "folder"], "--task folder:PATH"),
        (["--task", "digits:x"], "take nothing after their name"),
        (["--prompt", "none", "--readout", "identity"], "nothing to train"),
        (["--config", "missing.toml"], "cannot read missing.toml"),
        (["--resume", "missing"], "no run in missing"),
        (["--resume", "missing", "--out", "x"], "leave out --out"),
    ],
)
def test_settings_are_refused_before_anything_starts(
    refuse: Callable[..., str], arguments: list[str], says: str, tmp_path: Path
) -> None:
    assert says in refuse("train", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_config_file_that_is_not_toml(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("rounds = = 3")
    assert "run.toml is not TOML" in refuse("train", "--config", "run.toml")


def test_folders_of_images(refuse: Callable[..., str], shapes: Path, tmp_path: Path) -> None:
    assert "no folder" in refuse("train", "--task", "folder:nowhere")
    copy = tmp_path / "copy"
    shutil.copytree(shapes, copy)
    (copy / "triangle").mkdir()
    assert "class 'triangle' has no images" in refuse("train", "--backend", "thumbnails", "--task", f"folder:{copy}")
    (copy / "triangle").rmdir()
    (copy / "circle" / "notes.png").write_text("this is no picture")
    assert "notes.png cannot be read as an image" in refuse(
        "train", "--backend", "thumbnails", "--task", f"folder:{copy}"
    )
    shutil.rmtree(copy / "square")
    assert "needs at least 2" in refuse("train", "--backend", "thumbnails", "--task", f"folder:{copy}")


def test_more_clients_than_samples(refuse: Callable[..., str], quick: list[str]) -> None:
    assert "500 clients cannot share 16 training examples" in refuse("train", *quick, "--clients", "500")


def test_budget_that_does_not_pay_for_a_round(refuse: Callable[..., str], quick: list[str]) -> None:
    assert "too little: with 1 round of training it takes" in refuse("train", *quick, "--max-queries", "10")
    assert "too little: it takes" in refuse("train", *quick, "--rounds", "0", "--max-queries", "10")
    assert "too little: it takes" in refuse("train", *quick, "--prompt", "none", "--max-queries", "10")


def test_out_folder_that_cannot_be_written(refuse: Callable[..., str], quick: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in refuse("train", *quick, "--out", tmp_path / "file" / "run")


def test_out_folder_that_holds_a_run(refuse: Callable[..., str], quick: list[str], finished: Path) -> None:
    before = (finished / "summary.json").read_bytes()
    assert "already holds a run" in refuse("train", *quick, "--out", finished)
    assert (finished / "summary.json").read_bytes() == before


@pytest.fixture
def run_copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_changed_config_on_resume(refuse: Callable[..., str], run_copy: Path) -> None:
    assert "rounds is 6, not 9" in refuse("train", "--resume", run_copy, "--rounds", "9")
    assert "max_queries is None, not 9000" in refuse("train", "--resume", run_copy, "--max-queries", "9000")
    config = run_copy / "config.toml"
    config.write_text(config.read_text().replace("rounds = 6", "rounds = 9"))
    assert "config.toml has changed" in refuse("train", "--resume", run_copy)


def test_changed_data_on_resume(
    refuse: Callable[..., str], quick: list[str], shapes: Path, tmp_path: Path, fedbbpt: Callable[..., object]
) -> None:
    images = Path(shutil.copytree(shapes, tmp_path / "images"))
    options = [f"folder:{images}" if option.startswith("folder:") else option for option in quick]
    fedbbpt("train", *options, "--out", tmp_path / "run", check=True)
    for file in (images / "circle").iterdir():
        Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file)
    assert "have changed since the run began" in refuse("train", "--resume", tmp_path / "run")


def test_half_a_checkpoint_is_passed_over_and_no_whole_one_is_an_error(
    refuse: Callable[..., str], run_copy: Path, fedbbpt: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    newest, older = sorted((run_copy / "checkpoints").glob("*.safetensors"), reverse=True)
    newest.write_bytes(newest.read_bytes()[:-40])
    before = (run_copy / "summary.json").read_text()
    resumed = fedbbpt("train", "--resume", run_copy, check=True)
    assert "round-000006 is damaged; going on from the one before" in resumed.stdout
    assert (run_copy / "summary.json").read_text().split('"seconds"')[0] == before.split('"seconds"')[0]
    for file in (newest, older):
        file.write_bytes(b"")
    assert "every checkpoint in" in refuse("train", "--resume", run_copy)


def test_full_disk(
    refuse: Callable[..., str],
    quick: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fedbbpt: Callable[..., object],
    finished: Path,
    outcome: Callable[[Path], object],
) -> None:
    real, calls = os.fsync, iter(range(1000))

    def fsync(handle: int) -> None:
        if next(calls) >= 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    assert "the disk is full; free some space and continue with --resume" in refuse(
        "train", *quick, "--out", tmp_path / "run"
    )
    fedbbpt("train", "--resume", tmp_path / "run", check=True)
    assert outcome(tmp_path / "run") == outcome(finished)


def test_predict_reads_what_it_can(refuse: Callable[..., str], finished: Path, shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    assert "text.png" in refuse("predict", finished, shapes / "circle" / "000.png", tmp_path / "text.png")
    assert "no file" in refuse("predict", finished, tmp_path / "gone.png")
    assert "no run in" in refuse("predict", tmp_path, shapes / "circle" / "000.png")


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_missing_arguments_are_click_errors(command: str) -> None:
    result = CliRunner().invoke(main, [command])
    assert result.exit_code == 2
    assert "Missing argument" in result.stderr

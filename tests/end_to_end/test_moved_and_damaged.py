"""A run's folder whose data have moved, whose files have changed, or that another process works on."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fedbbpt.cli import main
from fedbbpt.config import make_config
from fedbbpt.run import train
from fedbbpt.run.callback import Callback
from fedbbpt.run.lock import folder_lock


class Stopped(Exception):  # noqa: N818 - reads as what it says
    """A run that was stopped."""


@pytest.fixture
def cli(third_party: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Runs a command in this process."""
    monkeypatch.syspath_prepend(third_party)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture
def sentence(cli: Callable[..., Result]) -> Callable[..., str]:
    """Runs a command that must fail; returns its one sentence."""

    def run(*arguments: object) -> str:
        result = cli(*arguments)
        assert result.exit_code == 1, result.output
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        return line

    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run's folder, in another place."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def begun(cli: Callable[..., Result], shapes: Path, tmp_path: Path) -> Path:
    """A run that was stopped after the third of six rounds."""

    class Stop(Callback):
        def on_round(self, row: Mapping[str, object]) -> None:
            if row["round"] == 4:
                raise Stopped

    data = {"clients": 3, "shots_per_class": 8, "validation_shots_per_class": 4}
    task = {"name": f"folder:{shapes}", "provider_shots_per_class": 2}
    config = make_config({"task": task, "backend": {"name": "thumbnails"}, "data": data, "rounds": 6})
    with pytest.raises(Stopped):
        train.train(config, tmp_path / "run", Stop())
    return tmp_path / "run"


@pytest.fixture
def away(cli: Callable[..., Result], quick: list[str], shapes: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A run, where its data were, and where they are now."""
    old, new = Path(shutil.copytree(shapes, tmp_path / "old")), tmp_path / "new"
    options = [f"folder:{old}" if option.startswith("folder:") else option for option in quick]
    assert cli("train", *options, "--rounds", 1, "--out", tmp_path / "run").exit_code == 0
    old.rename(new)
    return tmp_path / "run", old, new


def test_predict_needs_none_of_the_data_and_eval_is_told_where_they_are(
    cli: Callable[..., Result], sentence: Callable[..., str], away: tuple[Path, Path, Path]
) -> None:
    run, old, new = away
    picture = new / "circle" / "000.png"
    assert f"{picture}\t" in cli("predict", run, picture).output
    assert f"no folder {old}" in (said := sentence("eval", run))
    assert f"fedbbpt eval {run} --task" in said
    assert f"no folder {old}" in sentence("train", "--resume", run)
    assert cli("eval", run, "--task", f"folder:{new}").exit_code == 0
    assert "say where they are now with --task folder:PATH" in sentence("eval", run, "--task", f"csv:{new}")
    found = json.loads((run / "evaluation.json").read_text())
    assert found["test_accuracy"] == json.loads((run / "summary.json").read_text())["test_accuracy"]


def test_eval_refuses_other_data_than_the_runs(
    cli: Callable[..., Result], sentence: Callable[..., str], away: tuple[Path, Path, Path]
) -> None:
    run, _, new = away
    (new / "circle").rename(new / "disc")
    assert "other classes" in (said := sentence("eval", run, "--task", f"folder:{new}"))
    assert "'disc'" in said
    (new / "disc").rename(new / "circle")
    for file in (new / "circle").iterdir():
        Image.open(file).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(file)
    assert "have changed since the run began" in sentence("eval", run, "--task", f"folder:{new}")
    assert not (run / "evaluation.json").exists()


def test_the_models_own_examples_are_those_that_it_had_when_the_run_began(
    cli: Callable[..., Result], sentence: Callable[..., str], away: tuple[Path, Path, Path]
) -> None:
    run, old, new = away
    kept = run / "provider.safetensors"
    kept.write_bytes(kept.read_bytes()[:-1] + b"\0")
    assert "provider.safetensors has changed" in sentence("predict", run, new / "circle" / "000.png")
    new.rename(old)
    assert "provider.safetensors has changed" in sentence("train", "--resume", run)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("seed = 1", "seed = 2", "config.toml has changed since the run began"),
        ("provider_shots_per_class = 2", "provider_shots_per_class = 1", "config.toml has changed since the run began"),
        ("num_prompts = 1", "num_prompts = 4", "config.toml has changed since the run began"),
        ("seed = 1", "seed = -1", "config.toml cannot be used as it is: seed"),
        ("thumbnails", "thumbs", "config.toml cannot be used as it is: unknown backend 'thumbs'"),
        ("seed = 1", "seed = [[[[", "config.toml is not TOML"),
    ],
)
def test_a_config_that_was_edited_is_refused_by_all_in_the_same_words(
    sentence: Callable[..., str], run: Path, shapes: Path, old: str, new: str, says: str
) -> None:
    config = run / "config.toml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    said = {sentence(*command) for command in (("predict", run, shapes / "circle" / "000.png"), ("eval", run))}
    said.add(sentence("train", "--resume", run))
    assert len(said) == 1
    assert says in said.pop()


@pytest.mark.parametrize("name", ["environment.json", "config.toml", "provider.safetensors"])
@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[" * 10**5, b"{}", None])
def test_a_damaged_record_is_a_sentence_for_all(
    sentence: Callable[..., str], run: Path, shapes: Path, name: str, content: bytes | None
) -> None:
    (run / name).unlink()
    (run / name).mkdir() if content is None else (run / name).write_bytes(content)
    for command in (("predict", run, shapes / "circle" / "000.png"), ("eval", run), ("train", "--resume", run)):
        assert str(run / name) in sentence(*command) or name == "config.toml"


def test_predict_and_eval_say_that_they_use_the_checkpoint_before(
    cli: Callable[..., Result], run: Path, shapes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newest = max((run / "checkpoints").glob("*.json"))
    newest.write_text(newest.read_text().replace('"queries": ', '"queries": 1'))
    for command in (("predict", run, shapes / "circle" / "000.png"), ("eval", run)):
        caplog.clear()
        assert cli(*command).exit_code == 0
        assert f"checkpoint {newest.stem} of {run} is damaged; the one before is used" in caplog.text


def test_a_row_of_the_metrics_that_changed_is_noticed_and_asked_again(
    cli: Callable[..., Result],
    sentence: Callable[..., str],
    begun: Path,
    finished: Path,
    outcome: Callable[[Path], object],
) -> None:
    metrics = begun / "metrics.jsonl"
    rows = metrics.read_text().splitlines(keepends=True)
    assert len(rows) == 5
    metrics.write_text("".join([*rows[:3], rows[3].replace('"round": 3', '"round": 9'), rows[4]]))
    assert "round-000003 (its metrics.jsonl has changed) is damaged" in cli("train", "--resume", begun).output
    assert outcome(begun) == outcome(finished)
    metrics.write_text("".join(rows[1:]))
    assert "its metrics.jsonl has changed" in sentence("train", "--resume", begun)


def test_leftovers_of_a_kill_are_removed(
    cli: Callable[..., Result], begun: Path, finished: Path, outcome: Callable[[Path], object]
) -> None:
    for name in (".summary.json.tmp", ".config.toml.tmp", "checkpoints/.round-000004.json.tmp", ".lock"):
        (begun / name).write_bytes(b"{")
    for name in ("round-000001.safetensors", "round-000004.safetensors"):
        shutil.copy(begun / "checkpoints" / "round-000003.safetensors", begun / "checkpoints" / name)
    assert cli("train", "--resume", begun).exit_code == 0
    assert outcome(begun) == outcome(finished)
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (begun, finished)]
    assert names[0] == names[1]


def test_lost_checkpoints_are_no_run_that_has_not_begun(sentence: Callable[..., str], begun: Path) -> None:
    shutil.rmtree(begun / "checkpoints")
    assert "has lost its checkpoints" in sentence("train", "--resume", begun)


def test_parts_of_a_run_without_its_config_are_left_alone(
    sentence: Callable[..., str], quick: list[str], run: Path
) -> None:
    (run / "config.toml").unlink()
    before = sorted(run.rglob("*"))
    assert "holds parts of a run" in sentence("train", *quick, "--out", run)
    assert sorted(run.rglob("*")) == before


def test_a_run_that_another_process_works_on_is_left_alone(
    cli: Callable[..., Result], sentence: Callable[..., str], quick: list[str], run: Path, shapes: Path
) -> None:
    with folder_lock(run):
        for command in (("eval", run), ("train", "--resume", run), ("train", *quick, "--out", run)):
            assert "another process is working on the run" in sentence(*command)
        assert cli("predict", run, shapes / "circle" / "000.png").exit_code == 0


def test_results_that_changed_are_not_drawn(sentence: Callable[..., str], run: Path) -> None:
    from fedbbpt.errors import RunError
    from fedbbpt.run.environment import read_results

    summary = read_results(run)[0]
    assert summary == json.loads((run / "summary.json").read_text())
    for name in ("summary.json", "metrics.jsonl"):
        before = (run / name).read_bytes()
        (run / name).write_bytes(before.replace(b"0.", b"1.", 1))
        with pytest.raises(RunError, match=f"{name} has changed since the run wrote it"):
            read_results(run)
        (run / name).write_bytes(before)


def test_a_path_that_is_too_long_is_a_sentence_for_all(sentence: Callable[..., str], quick: list[str]) -> None:
    for path in ("n" * 300, "/".join(25 * ["p" * 200])):
        for command in (
            ("train", *quick, "--out", path),
            ("train", "--resume", path),
            ("train", "--config", path),
            ("eval", path),
            ("predict", path, "x.png"),
            ("bench", "--resume", path),
            ("figures", path),
        ):
            assert "too long" in sentence(*command)

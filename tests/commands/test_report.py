"""`fedbbpt report`."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedbbpt.cli import main
from fedbbpt.config import make_config
from fedbbpt.run import train


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few test images, without rounds."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    folder.mkdir()
    data = {"clients": 2, "shots_per_class": 1, "validation_shots_per_class": 1, "test_limit": 10}
    train.train(make_config({"rounds": 0, "data": data}), folder)
    return folder


def test_one_run_gets_its_report_again(finished: Path) -> None:
    page = finished / "report.html"
    before = page.read_bytes()
    page.unlink()
    result = report(finished)
    assert result.output.split() == ["report", str(page)]
    assert page.read_bytes() == before


def test_several_runs_are_compared(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other"
    other.symlink_to(finished)
    assert "one folder is named twice" in report(finished, other).output
    other.unlink()
    shutil.copytree(finished, other)
    assert report(finished, other).output.split() == ["report", "comparison.html"]
    assert "2 runs of digits" in (tmp_path / "comparison.html").read_text()
    assert report(finished, other, "--out", "mine.html").exit_code == 0
    assert (tmp_path / "mine.html").is_file()


def test_what_is_wrong_is_one_sentence(finished: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ([finished, "--out", "x.html"], "--out is for a comparison of several runs"),
        ([tmp_path / "nothing"], "no run in"),
        ([finished, tmp_path / "nothing"], "no run in"),
    ):
        result = report(*arguments)
        assert result.exit_code == 1
        assert result.output.startswith("Error: ")
        assert said in result.output
    assert list(tmp_path.iterdir()) == []

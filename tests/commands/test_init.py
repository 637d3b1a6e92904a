"""`fedbbpt init` and `fedbbpt init-plugin`: what they write works as it is, and nothing is overwritten."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedbbpt.cli import main
from fedbbpt.commands import init as commands
from fedbbpt.config import make_config


def fedbbpt(*arguments: object, answers: str | None = None) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), input=answers)


def written(tmp_path: Path, *options: object, answers: str | None = None) -> str:
    result = fedbbpt("init", "--out", tmp_path / "a.toml", *options, answers=answers)
    assert result.exit_code == 0, result.output
    return (tmp_path / "a.toml").read_text("utf-8")


def chosen(text: str) -> list[str]:
    return [line.partition("  #")[0] for line in text.splitlines() if line and line[0] not in "#["]


def test_the_file_has_the_settings_that_the_options_give(tmp_path: Path) -> None:
    options = ("--preset", "dfedsam", "--task", "digits", "-o", "algorithm.topology=ring", "--seed", "2")
    shown = fedbbpt("config", "show", *options)
    assert make_config(tomllib.loads(written(tmp_path, *options))).to_toml() == shown.stdout


def test_train_accepts_the_file(tmp_path: Path) -> None:
    written(tmp_path, "--rounds", 2)
    planned = fedbbpt("train", "--config", tmp_path / "a.toml", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert planned.stdout == fedbbpt("train", "--rounds", 2, "--dry-run").stdout


@pytest.mark.parametrize("command", [("init", "--out"), ("init-plugin", "acme", "--dir")], ids=" ".join)
def test_nothing_is_overwritten(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    refused = fedbbpt(*command, tmp_path / "mine")
    assert refused.exit_code == 1
    assert "exists, and is not overwritten" in refused.stderr
    assert (tmp_path / "mine").read_text() == "mine"


class TestQuestions:
    """On a terminal."""

    @pytest.fixture(autouse=True)
    def terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(commands, "_is_terminal", lambda: True)

    def test_images(self, tmp_path: Path) -> None:
        text = written(tmp_path, answers=f"images\n{tmp_path}\n\n4\n9000\n")
        assert chosen(text) == ["max_queries = 9000", "clients = 4", f'name = "folder:{tmp_path}"']

    def test_texts_for_a_paid_service(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text("")
        text = written(tmp_path, answers=f"texts\n{tmp_path / 'a.jsonl'}\nreview\n\nopenai\nmodel-x\n2\n\n\n")
        source = [f'name = "jsonl:{tmp_path / "a.jsonl"}"', 'text_column = "review"', 'label_column = "label"']
        assert chosen(text) == ["max_cost = 2.0", 'name = "openai"', 'model = "model-x"', *source]

    def test_a_task_by_name(self, tmp_path: Path) -> None:
        assert chosen(written(tmp_path, answers="task\nnope\nspam\n\n\n\n")) == ['name = "spam"']

    def test_options_are_answers(self, tmp_path: Path) -> None:
        assert chosen(written(tmp_path, "--rounds", 3, answers="")) == ["rounds = 3"]

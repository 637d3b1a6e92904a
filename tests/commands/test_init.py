"""`fedbbpt init` and `fedbbpt init-plugin`: what they write works as it is, and nothing is overwritten."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedbbpt import registry
from fedbbpt.cli import main
from fedbbpt.commands import init as commands
from fedbbpt.commands.init import PLUGIN_KINDS
from fedbbpt.config import make_config
from fedbbpt.config.commented import WIDTH
from fedbbpt.config.presets import SELECTABLE


def fedbbpt(*arguments: object, answers: str | None = None) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), input=answers)


def written(tmp_path: Path, *options: object, answers: str | None = None) -> str:
    result = fedbbpt("init", "--out", tmp_path / "a.toml", *options, answers=answers)
    assert result.exit_code == 0, result.output
    return (tmp_path / "a.toml").read_text("utf-8")


def chosen(text: str) -> list[str]:
    return [line.partition("  #")[0] for line in text.splitlines() if line and line[0] not in "#["]


@pytest.mark.parametrize(
    "options",
    [
        (),
        *(("--preset", name) for name in SELECTABLE if name != "language-model"),
        ("--task", "spam", "--preset", "language-model"),
        ("--task", "csv:a.csv", "--text-column", "review", "--max-queries", "1000"),
        ("--task", "spam", "--backend", "openai", "-o", "backend.model=m", "--max-cost", "2"),
        ("--readout", "identity", "--clients", "3", "-o", "data.dirichlet_alpha=inf"),
        ("--preset", "dfedsam", "-o", "algorithm.topology=ring"),
    ],
    ids=" ".join,
)
def test_the_file_gives_the_settings_of_the_options(options: tuple[str, ...], tmp_path: Path) -> None:
    text = written(tmp_path, *options)
    shown = fedbbpt("config", "show", *options)
    assert make_config(tomllib.loads(text)).to_toml() == shown.stdout


def test_every_setting_is_there_with_its_meaning_and_can_be_chosen(tmp_path: Path) -> None:
    text = written(tmp_path)
    assert chosen(text) == []
    lines = text.splitlines()
    for section, value in make_config({}).to_settings().items():
        for name in value if isinstance(value, dict) else [section]:
            index = next(i for i, line in enumerate(lines) if line.startswith(f"# {name} ="))
            assert lines[index - 1].startswith("# ")
            assert "; default: " in lines[index]
    settings = [line.removeprefix("# ") if " =  " not in line and "; default: " in line else line for line in lines]
    assert make_config(tomllib.loads("\n".join(settings))) == make_config({})
    assert all(len(line) <= WIDTH + 2 for line in lines if "; default: " not in line)


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


def test_a_plugin_keeps_its_contracts_and_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "acme-things"
    result = fedbbpt("init-plugin", "acme-things", "--dir", folder)
    assert result.exit_code == 0, result.output
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    tested = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert f"{len(PLUGIN_KINDS)} passed" in tested.stdout, tested.stdout

    groups = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]
    info = folder / "src" / "acme_things-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-things\nVersion: 0.1.0\n")
    entries = (f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in each.items()) for group, each in groups.items())
    (info / "entry_points.txt").write_text("".join(entries))
    for kind in PLUGIN_KINDS:
        shown = [sys.executable, "-m", "fedbbpt", "list", f"{kind}s", "acme-things"]
        environment = os.environ | {"PYTHONPATH": str(folder / "src")}
        done = subprocess.run(shown, capture_output=True, text=True, env=environment)
        assert f"acme_things.{kind}.AcmeThings{kind.capitalize()}" in done.stdout, done.stderr


def test_a_plugin_of_one_kind(tmp_path: Path) -> None:
    fedbbpt("init-plugin", "acme", "--kind", "prompt", "--dir", tmp_path / "a")
    assert {path.name for path in (tmp_path / "a").rglob("*.py")} == {"__init__.py", "prompt.py", "test_prompt.py"}
    assert "acme" not in registry.names("prompts")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Acme_", "lower-case letters, digits and single hyphens, got 'Acme_'"),
        ("json", "a name of Python or of fedbbpt"),
        ("dct", "the name of prompt 'dct' is taken"),
    ],
)
def test_names_that_do_not_work_are_refused(name: str, message: str, tmp_path: Path) -> None:
    refused = fedbbpt("init-plugin", name, "--dir", tmp_path / "a")
    assert refused.exit_code == 1
    assert message in refused.stderr
    assert not (tmp_path / "a").exists()

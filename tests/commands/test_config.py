"""`fedbbpt config show`: the settings that `fedbbpt train` would run with."""

import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from fedbbpt.cli import main, train
from fedbbpt.commands.config import show
from fedbbpt.config import make_config
from fedbbpt.config.presets import DEFAULTS


def fedbbpt(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def shown(*options: str) -> dict[str, object]:
    result = fedbbpt("config", "show", *options)
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.stdout)


def test_without_options_it_shows_the_defaults() -> None:
    result = fedbbpt("config", "show")
    assert result.stdout == make_config({}).to_toml()


def test_it_takes_the_options_that_train_takes() -> None:
    beside = {"out", "resume", "callbacks", "dry_run"}
    assert [one.name for one in show.params] == [one.name for one in train.params if one.name not in beside]


def test_files_win_over_presets_and_options_over_files(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("rounds = 4\n[algorithm]\nbatch_size = 8\n", "utf-8")
    options = ("--preset", "split", "--config", str(tmp_path / "a.toml"))
    asked = shown(*options, "--engine", "processes", "-o", "algorithm.batch_size=16")
    assert (asked["rounds"], asked["readout"]) == (4, {"name": "none"})
    assert asked["engine"] == {"name": "processes", "workers": 2}
    asked_for = {"rounds": 4, "engine": {"name": "processes"}, "algorithm": {"batch_size": 16}}
    assert asked == tomllib.loads(make_config(asked_for, "split").to_toml())


def test_the_output_is_a_config_with_the_same_settings(tmp_path: Path) -> None:
    options = ("--optimizer", "cma", "--clients", "3", "--max-queries", "1000")
    (tmp_path / "a.toml").write_text(fedbbpt("config", "show", *options).stdout, "utf-8")
    assert shown("--config", str(tmp_path / "a.toml")) == shown(*options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "splitt"], "unknown preset 'splitt'. Did you mean 'split'"),
        (["--engine", "parallel"], "unknown engine 'parallel'"),
        (["-o", "prompt.epsilom=1"], "Did you mean 'epsilon'"),
    ],
)
def test_mistakes_are_one_sentence(options: list[str], message: str) -> None:
    result = fedbbpt("config", "show", *options)
    assert result.exit_code == 1
    assert message in result.stderr


def test_a_resumed_run_takes_no_preset() -> None:
    result = fedbbpt("train", "--resume", "run", "--preset", "split")
    assert result.exit_code == 1
    assert "leave out --out, --config and --preset" in result.stderr


@pytest.mark.parametrize("section", DEFAULTS)
def test_help_names_the_default_of_every_component(section: str) -> None:
    option = next(one for one in train.params if one.name == section)
    assert isinstance(option, click.Option)
    assert f"[default: {DEFAULTS[section]}" in str(option.help)

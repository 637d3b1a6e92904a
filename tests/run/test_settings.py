from pathlib import Path

import pytest

from fedbbpt.config import make_config
from fedbbpt.errors import ConfigError, RunError
from fedbbpt.run.settings import load_run_settings


def test_the_settings_of_a_run_are_those_that_were_stored(tmp_path: Path) -> None:
    config = make_config({"rounds": 3})
    (tmp_path / "config.toml").write_text(config.to_toml(), "utf-8")
    assert make_config(load_run_settings(tmp_path)) == config


@pytest.mark.parametrize(("content", "version"), [("rounds = 3", "1"), ("version = 1", "1"), ("version = 3", "3")])
def test_runs_of_another_version_are_refused(tmp_path: Path, content: str, version: str) -> None:
    (tmp_path / "config.toml").write_text(content, "utf-8")
    with pytest.raises(RunError, match=f"has version {version}, and this fedbbpt reads version 2 only; continue with"):
        load_run_settings(tmp_path)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run in .*start one with fedbbpt train --out"):
        load_run_settings(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("seed = [[", "utf-8")
    with pytest.raises(ConfigError, match=r"config\.toml is not TOML"):
        load_run_settings(tmp_path)

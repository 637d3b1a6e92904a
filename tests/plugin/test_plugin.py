"""The package that `fedbbpt init-plugin` writes: its tests pass, and its components are found by name."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedbbpt import registry
from fedbbpt.cli import main
from fedbbpt.commands.init import PLUGIN_KINDS


def fedbbpt(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_a_plugin_keeps_its_contracts_and_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "acme-things"
    result = fedbbpt("init-plugin", "acme-things", "--dir", folder)
    assert result.exit_code == 0, result.output
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    plain = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # of this project's tests
    tested = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=plain)
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

"""`fedbbpt doctor` reports each check, and fails if one does."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fedbbpt import doctor, registry
from fedbbpt.cli import main
from fedbbpt.doctor import Check, run_checks


def test_a_sound_installation_passes_all_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    checks = {check.subject: check for check in run_checks()}
    assert checks["folder"] == Check("folder", True, f"{tmp_path} is writable")
    assert checks["local-vit"].details.endswith("queries/s")
    assert not checks.keys() & set(registry.KINDS)  # of components, only those that fail are reported


def test_a_component_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(kind: str, name: str) -> Any:
        raise ImportError(f"no module for {name}")

    monkeypatch.setattr(registry, "names", lambda kind: ["broken"] if kind == "prompts" else [])
    monkeypatch.setattr(registry, "load", load)
    monkeypatch.setattr(doctor, "_check_embedded_model", lambda: Check("local-vit", True, ""))
    assert Check("prompts", False, "broken: ImportError: no module for broken") in list(run_checks())


@pytest.mark.parametrize("passed", [True, False])
def test_the_command_fails_if_a_check_does(monkeypatch: pytest.MonkeyPatch, passed: bool) -> None:
    monkeypatch.setattr(doctor, "run_checks", lambda: iter([Check("folder", passed, "details")]))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == (0 if passed else 1)
    assert result.stdout == f"{'ok ' if passed else 'NO '} folder        details\n"

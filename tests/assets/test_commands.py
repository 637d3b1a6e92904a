"""The command line of the assets."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedbbpt.assets import store
from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.cli import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["assets", *map(str, arguments)])


def test_list_says_what_there_is_and_what_is_here(served: Path) -> None:
    store.fetch("toy")
    lines = run("list").stdout.splitlines()
    assert len(lines) == len(ASSETS)
    assert "here" in next(line for line in lines if line.startswith("toy"))
    assert "here" not in next(line for line in lines if line.startswith("mnist"))
    assert "ISC" in next(line for line in lines if line.startswith("mnist"))


def test_get_then_path_then_verify(served: Path) -> None:
    assert run("path", "toy").exit_code == 1
    got = run("get", "toy")
    assert got.exit_code == 0
    assert Path(got.stdout.strip()) == Path(run("path", "toy").stdout.strip()) == store.path("toy")
    assert run("verify").stdout == f"{'toy':22}intact\n"


def test_a_damaged_file_is_shown_and_left_alone(served: Path) -> None:
    file = store.fetch("toy")
    file.write_bytes(b"damaged")
    result = run("verify")
    assert result.exit_code == 1
    assert f"remove {file}" in result.stderr
    assert file.read_bytes() == b"damaged"


def test_get_goes_on_after_a_failure_and_tells(served: Path) -> None:
    result = run("get", "nothing", "toy")
    assert result.exit_code == 1
    assert "unknown asset 'nothing'" in result.stderr
    assert store.verify("toy") == "intact"


def test_get_from_a_file(served: Path, tmp_path: Path) -> None:
    assert run("get", "toy", "--from", served).exit_code == 0
    assert not (tmp_path / "count").exists()
    assert "one asset at a time" in run("get", "toy", "mnist", "--from", served).stderr


def test_get_offline(served: Path) -> None:
    result = run("get", "toy", "--offline")
    assert result.exit_code == 1
    assert "may not be fetched offline" in result.stderr


@pytest.mark.parametrize("arguments", [["get"], ["get", "mnits"], ["path", "mnits"], ["verify", "mnits"]])
def test_mistakes_are_one_sentence(arguments: list[str], served: Path) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output

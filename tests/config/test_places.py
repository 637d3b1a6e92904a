"""Options that name files or folders of one machine."""

from pathlib import Path

import pytest

from fedbbpt.config.components import resolve
from fedbbpt.config.places import is_place, made_absolute, without_folders


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets").mkdir()
    (tmp_path / "mnist").mkdir()
    (tmp_path / "net.pt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("value", ["dir:nets", "./nets", "net.pt", "/gone", "dir:/gone", "dir:~"])
def test_paths_are_places(value: str) -> None:
    assert is_place(value)


@pytest.mark.parametrize("value", ["mnist", "org/name", "dir:gone", "", "a\0/b", "x" * 5000 + "/", 3, None, True])
def test_names_and_numbers_are_none(value: object) -> None:
    assert not is_place(value)


def test_paths_to_what_there_is_become_absolute(here: Path) -> None:
    assert made_absolute("dir:nets") == f"dir:{here}/nets"
    assert made_absolute("net.pt") == f"{here}/net.pt"
    for other in ("mnist", "org/name", "dir:gone", "a\0/b", 3, None):
        assert made_absolute(other) == other


def test_a_backend_has_the_same_files_wherever_a_run_goes_on(here: Path) -> None:
    options = resolve("backends", "local-vit", {"classifier": "net.pt", "model": "timm:vit_tiny"}).options
    assert options["classifier"] == f"{here}/net.pt"
    assert options["model"] == "timm:vit_tiny"


def test_of_absolute_paths_the_name_is_told() -> None:
    assert [without_folders(one) for one in ("dir:/home/me/vit", "/home/me/net.pt")] == ["dir:vit", "net.pt"]
    assert [without_folders(one) for one in ("dir:nets", "mnist", 3)] == ["dir:nets", "mnist", 3]

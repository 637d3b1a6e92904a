"""On the way from the command line into a run, the options of every component are checked once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from fedbbpt import registry
from fedbbpt.config import components
from tests.federation.in_memory import Colours, write_images

SECTIONS = ("task", "backend", "prompt", "readout", "optimizer", "algorithm", "engine")


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_a_run_resolves_every_component_once(
    options: list[str], in_process: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register("backends", "colours", Colours)
    checked: list[str] = []

    def create_model(section: str, **fields: Any) -> Any:
        checked.append(section)
        return pydantic.create_model(section, **fields)

    monkeypatch.setattr(components, "create_model", create_model)
    images = write_images(tmp_path / "data", ["rome"]) / "rome"
    run = ["--task", f"folder:{images}", "--backend", "colours", "--clients", 2, "--shots-per-class", 2, "--rounds", 1]
    in_process("train", *run, *options, "--out", tmp_path / "run", check=True)
    assert Counter(checked) == Counter(SECTIONS)

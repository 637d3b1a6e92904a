"""The example of a user's own task, registered by an entry point and by a table."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedbbpt import registry
from fedbbpt.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_task.py"
POINTS = "[fedbbpt.tasks]\nstripes-2 = own_task:Stripes\n[fedbbpt.task_tables]\nstripes = own_task:TABLE\n"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with the example on the path."""
    info = tmp_path / "own_task-1.0.dist-info"
    info.mkdir()
    shutil.copy(EXAMPLE, tmp_path)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-task\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(("name", "classes"), [("stripes-2", 2), ("stripes-6", 6)])
def test_described(name: str, classes: int) -> None:
    result = CliRunner().invoke(main, ["task", "describe", name])
    assert result.exit_code == 0, result.output
    assert sum(" degrees " in line for line in result.output.splitlines()) == classes
    assert "0 of the test also in training" in result.output


def test_listed_with_what_it_is() -> None:
    lines = CliRunner().invoke(main, ["list", "tasks"]).output.splitlines()
    assert next(line for line in lines if line.startswith("stripes-4 ")).endswith("4 directions of stripes.")
    assert {"stripes", "stripes-2", "stripes-3"} < set(registry.names("tasks"))

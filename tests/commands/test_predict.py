"""`fedbbpt predict` prints one line per file, whatever the names of file and class."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fedbbpt.cli import main
from fedbbpt.errors import DataError


class Fake:
    def __init__(self, folder: Path) -> None:
        pass

    def __call__(self, file: Path) -> tuple[str, float]:
        if file.name == "bad":
            raise DataError(f"cannot read {file}: it is\nno text")
        return "good\tnews\n\x1b[31m", 0.5


def test_names_stay_in_their_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedbbpt.run.predict.Predictor", Fake)
    result = CliRunner().invoke(main, ["predict", "run", "a\tb\n.txt", "bad", "c.txt"])
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "a\\tb\\n.txt\tgood\\tnews\\n\\x1b[31m\t0.500",
        "c.txt\tgood\\tnews\\n\\x1b[31m\t0.500",
    ]
    assert result.stderr == "Error: cannot read bad: it is\\nno text\n"

"""`fedbbpt task describe` counts the examples of a task, and shows some."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fedbbpt.cli import main


def describe(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["task", "describe", *map(str, arguments)])


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for i in range(30):
            picture = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
            picture.save(tmp_path / "animals" / name / f"{i:02d}.png")
    return tmp_path / "animals"


def test_examples_are_counted_and_drawn_on_a_sheet(animals: Path, tmp_path: Path) -> None:
    result = describe(f"folder:{animals}", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line[:3] in ("cat", "dog"))
    counted = [int(n) for row in rows.values() for n in row.split()]
    assert sum(counted) == 60 - 2 * 4  # four a class are the provider's
    assert f"{counted[0] + counted[2]} for training, {counted[1] + counted[3]} for the test" in result.stdout
    assert "0 of the test also in training" in result.stdout
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"


def test_the_license_is_shown() -> None:
    result = describe("digits")
    assert result.exit_code == 0
    assert "CC-BY-4.0" in result.stdout


def test_labels_that_were_cleaned_are_noted(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    names = ("good", "bad ", "two\x1b[31m")
    lines = [f"text {i},{names[i % 3]}" for i in range(180)]
    table.write_text("text,label\n" + "\n".join(lines))
    result = describe(f"csv:{table}")
    assert result.exit_code == 0
    assert "note        in column 'label', 'bad ' is read as 'bad' (in 60 of 180 rows)\n" in result.stdout
    assert r"two\x1b[31m " in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digit"], "Did you mean 'digits'"),
        (["digits:left"], "nothing after their name"),
        (["folder:nowhere"], "no folder"),
        (["digits", "--sheet", "nowhere/sheet.png"], "cannot write nowhere/sheet.png"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], message: str) -> None:
    result = describe(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output

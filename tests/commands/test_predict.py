"""`fedbbpt predict`: every kind of input and output, and what happens when it is stopped."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fedbbpt.tuned.model import TunedModel

pytestmark = pytest.mark.usefixtures("backends")

Cli = Callable[..., "subprocess.CompletedProcess[str]"]  # noqa: F821


@pytest.fixture
def photos(tmp_path: Path, pictures) -> Path:
    """A folder with twenty pictures, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(pictures[0][:20]):
        image.save(folder / f"{i:02d}.png")
    return folder


def test_each_output_says_the_same(in_process: Cli, image_run: Path, photos: Path, pictures) -> None:
    lines = in_process("predict", image_run, photos, check=True).stdout.splitlines()
    said = [line.split("\t") for line in lines]
    assert [Path(name).name for name, _, _ in said] == [f"{i:02d}.png" for i in range(20)]
    assert sum(label == colour for (_, label, _), colour in zip(said, pictures[1], strict=False)) > 17
    rows = list(csv.DictReader(in_process("predict", image_run, photos, "--output", "csv").stdout.splitlines()))
    objects = [
        json.loads(one) for one in in_process("predict", image_run, photos, "--output", "jsonl").stdout.split("\n")[:-1]
    ]
    for (name, label, shown), row, one in zip(said, rows, objects, strict=True):
        assert (row["input"], row["class"]) == (one["input"], one["class"]) == (name, label)
        assert f"{one['probability']:.3f}" == shown
        assert {k: float(row[k]) for k in ("blue", "green", "red")} == one["probabilities"]
        assert abs(sum(one["probabilities"].values()) - 1) < 1e-5


def test_names_stay_in_their_columns(in_process: Cli, image_run: Path, photos: Path, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad\n.png", tmp_path / "a\tb\n.png"
    bad.write_text("no picture")
    (photos / "00.png").rename(good)
    result = in_process("predict", image_run, good, bad)
    assert result.returncode == 1
    assert result.stdout.count("\n") == 1
    assert f"{tmp_path}/a\\tb\\n.png\t" in result.stdout
    assert "bad\\n.png cannot be read as an image" in result.stderr
    assert result.stderr.count("\n") == 1


def test_tables_and_lines(in_process: Cli, text_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new.csv").write_text("review,comment\nso fine,dull\nso dull,fine\n")
    said = in_process("predict", text_run, tmp_path / "new.csv", check=True).stdout.splitlines()
    assert [line.split("\t")[1] for line in said] == ["fine", "dull"]  # the column is that of the run's own table
    other = in_process("predict", text_run, tmp_path / "new.csv", "--text-column", "comment", check=True).stdout
    assert [line.split("\t")[1] for line in other.splitlines()] == ["dull", "fine"]


def test_what_was_stopped_goes_on(in_process: Cli, image_run: Path, photos: Path, monkeypatch, tmp_path: Path) -> None:
    out, asked, whole = tmp_path / "answers.csv", [], TunedModel.log_probabilities
    arguments = ("predict", image_run, photos, "--output", "csv", "--out", out)

    def interrupted(model, inputs):
        asked.append(len(inputs))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return whole(model, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(TunedModel, "log_probabilities", interrupted)
        assert in_process(*arguments).returncode == 1
    assert not out.exists()
    journal = tmp_path / "answers.csv.partial"
    with journal.open("a") as file:
        file.write('{"input": "cut o')  # by a kill
    counted: list[int] = []
    monkeypatch.setattr(
        TunedModel, "log_probabilities", lambda model, inputs: counted.append(len(inputs)) or whole(model, inputs)
    )
    in_process(*arguments, check=True)
    assert (asked, counted) == ([16, 4], [4])  # what has an answer is not asked again
    assert not journal.exists()
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == 20
    assert "is there already" in in_process(*arguments).stderr


def test_inputs_without_an_answer_leave_the_file_open(in_process: Cli, image_run: Path, photos: Path, tmp_path) -> None:
    (photos / "21.png").write_text("no picture")
    arguments = ("predict", image_run, photos, "--out", tmp_path / "answers.tsv")
    result = in_process(*arguments)
    assert result.returncode == 1
    assert "1 inputs have no answer" in result.stderr
    assert not (tmp_path / "answers.tsv").exists()
    Image.new("RGB", (8, 8), "red").save(photos / "21.png")
    assert in_process(*arguments, check=True).stderr == ""
    assert len((tmp_path / "answers.tsv").read_text().splitlines()) == 21


def test_a_journal_of_another_model_is_refused(in_process: Cli, image_run: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "a.tsv.partial").write_text('{"state": "another"}\n')
    assert "begun with another model" in in_process("predict", image_run, photos, "--out", tmp_path / "a.tsv").stderr
    (tmp_path / "a.tsv.partial").write_text("[]\n")
    assert "is damaged" in in_process("predict", image_run, photos, "--out", tmp_path / "a.tsv").stderr


def test_options_of_the_model_and_limits(in_process: Cli, image_run: Path, photos: Path) -> None:
    assert "unknown option" in in_process("predict", image_run, photos, "-o", "strenght=3").stderr
    one = photos / "00.png"
    plain, strong = (in_process("predict", image_run, one, *more).stdout for more in ((), ("-o", "strength=40.0")))
    assert plain != strong
    assert "max_queries=5 does not allow" in in_process("predict", image_run, photos, "--max-queries", "5").stderr
    assert "leave out --text-column" in in_process("predict", image_run, photos, "--text-column", "x").stderr

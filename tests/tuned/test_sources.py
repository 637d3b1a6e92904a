"""What names on the command line stand for."""

from pathlib import Path

import pytest

from fedbbpt.errors import ConfigError, DataError
from fedbbpt.tuned.sources import find


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures, texts and tables, in which the program runs."""
    for name in ("b.png", "a.PNG", "sub/c.jpg", "sub/.hidden.png", ".git/d.png", "notes.txt", "sub/more.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a text")
    (tmp_path / "t.csv").write_text("id,review\n1,good\n2,bad\n")
    (tmp_path / "t.jsonl").write_text('{"review": "fine"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*given: str, texts: bool = False, column: str | None = None, lines=(), tell=lambda text: None) -> list[str]:
    return [one.name for one in find(given, column, texts, lines, tell)]


def test_folders_patterns_and_files(here: Path) -> None:
    said: list[str] = []
    assert names(".", tell=said.append) == ["a.PNG", "b.png", "sub/c.jpg"]
    assert said == ["left out of .: 4 other files (notes.txt, …)"]
    assert names("*.png", "sub") == ["b.png", "sub/c.jpg"]
    assert names("**/*.jpg") == ["sub/c.jpg"]
    assert names(".", texts=True) == ["notes.txt", "sub/more.txt"]
    assert names("gone.png") == ["gone.png"]  # reading it says so, and the others are answered


def test_a_file_whose_name_is_a_pattern(here: Path) -> None:
    (here / "x[1].png").write_text("")
    assert names("x[1].png") == ["x[1].png"]


def test_each_row_of_a_table_is_a_text(here: Path) -> None:
    found = find(["t.csv", "t.jsonl"], "review", True, (), print)
    assert [one.item for one in found] == ["good", "bad", "fine"]
    assert found[1].name == "t.csv, row 2 (line 3)"
    assert names(".", texts=True, column="review")[1:] == [
        "sub/more.txt",
        "t.csv, row 1 (line 2)",
        "t.csv, row 2 (line 3)",
        "t.jsonl, row 1 (line 1)",
    ]


def test_lines_of_standard_input(here: Path) -> None:
    assert names("-", lines=["b.png\n", "\n", "x.png"]) == ["b.png", "x.png"]
    found = find(["-"], None, True, ["good film\n", "  \n", "bad\r\n"], print)
    assert [(one.name, one.item) for one in found] == [("line 1", "good film"), ("line 3", "bad")]


@pytest.mark.parametrize(
    ("name", "texts", "column", "error", "says"),
    [
        ("*.bmp", False, None, DataError, "no file matches"),
        ("t.csv", True, None, ConfigError, "which column holds its texts with --text-column"),
        ("t.csv", True, "gone", DataError, "has no column 'gone'"),
        ("empty.csv", True, "review", DataError, "row 1 .* has no 'review'"),
        ("nothing", False, None, DataError, "holds no pictures"),
        ("nothing", True, None, DataError, "holds no texts"),
    ],
)
def test_what_stands_for_nothing_is_refused(here: Path, name, texts, column, error, says) -> None:
    (here / "nothing").mkdir()
    (here / "empty.csv").write_text('review,x\n"",1\n')
    with pytest.raises(error, match=says):
        names(name, texts=texts, column=column)

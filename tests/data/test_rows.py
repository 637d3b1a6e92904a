"""Rows of tables in files, and what is said of those that cannot be read."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from fedbbpt.data.rows import Row, from_csv, from_json_lines, from_parquet
from fedbbpt.errors import DataError

COLUMNS = {"--text-column": "text", "--label-column": "label"}
TWO = [("a", "x"), ("b", "y")]
Read = Callable[[str | bytes], tuple[list[Row], list[str]]]


@pytest.fixture
def read_csv(tmp_path: Path) -> Read:
    def read(contents: str | bytes) -> tuple[list[Row], list[str]]:
        path, remarks = tmp_path / "table.txt", list[str]()
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        return list(from_csv(path, COLUMNS, remarks)), remarks

    return read


@pytest.fixture
def read_jsonl(tmp_path: Path) -> Callable[[str], list[Row]]:
    def read(contents: str) -> list[Row]:
        path = tmp_path / "table.jsonl"
        path.write_text(contents)
        return list(from_json_lines(path, COLUMNS))

    return read


def pairs(rows: list[Row]) -> list[tuple[Any, Any]]:
    return [(row.cells["text"], row.cells["label"]) for row in rows]


class TestCsv:
    @pytest.mark.parametrize(
        "contents",
        [
            "text,label\na,x\nb,y\n",
            "text\tlabel\na\tx\nb\ty\n",
            "text;label\na;x\nb;y",
            "text|label\r\na|x\r\nb|y\r\n",
            "text,label\ra,x\rb,y\r",
            "\n\ntext,label\n\na,x\n  \nb,y\n\n",
            "label,other,text\nx,1,a\ny,2,b\n",
            'text, label\na, x\n"b", "y"\n',
            " text ;label;;\na;x;;\nb;y;;\n",
            "sep=;\ntext;label\na;x\nb;y\n",
            b"\xef\xbb\xbftext,label\na,x\nb,y\n",
            "text\tlabel\na\tx\nb\ty\n".encode("utf-16"),
            gzip.compress(b"text,label\na,x\nb,y\n"),
        ],
    )
    def test_what_is_read(self, contents: str | bytes, read_csv: Read) -> None:
        rows, remarks = read_csv(contents)
        assert pairs(rows) == TWO
        assert remarks == []

    def test_a_row_is_found_where_a_person_looks(self, read_csv: Read) -> None:
        rows, _ = read_csv('text,label\n\n"two\nlines",x\n\nb,y\n')
        assert [row.place for row in rows] == ["row 1 (line 3)", "row 2 (line 6)"]

    def test_quotes_around_cells(self, read_csv: Read) -> None:
        rows, _ = read_csv('text,label\n"a, ""so"" she said;\nand left",x\n')
        assert pairs(rows) == [('a, "so" she said;\nand left', "x")]
        rows, remarks = read_csv('text\tlabel\n"a\tb"\tx\n"c ""d"""\ty\n')
        assert pairs(rows) == [("a\tb", "x"), ('c "d"', "y")]
        assert remarks == []

    @pytest.mark.parametrize("broken", ['"So" it goes', '"So it goes', 'So "it" goes "'])
    def test_quotes_as_characters_between_tabs(self, broken: str, read_csv: Read) -> None:
        rows, remarks = read_csv(f'text\tlabel\n"first" word\tx\n{broken}\ty\n')
        assert pairs(rows) == [('"first" word', "x"), (broken, "y")]
        assert "quotes are read as characters" in remarks[0]

    def test_quotes_that_can_be_read_in_two_ways(self, read_csv: Read) -> None:
        with pytest.raises(DataError, match=r"row 2 \(line 3\) .* in two ways: quotes .* JSON Lines"):
            read_csv('text\tlabel\na\tx\n"So\tx\nit goes"\ty\n')

    @pytest.mark.parametrize(
        ("contents", "reason"),
        [
            ("text,label\na,x\nb\n", r"row 2 \(line 3\) .* as many cells as the header, 1 and not 2"),
            ("text,label\na,x\nb,c,y\n", r"row 2 \(line 3\) .* 3 and not 2; quote the texts that hold ','"),
            ('text,label\na,x\n"b,y\nc,x\n', r"row 2 \(line 3\) .* quote opens there that is never closed"),
            ('text,label\n"a" b,x\n', r"row 1 \(line 2\) .* quotes inside a quoted cell twice"),
            ('text\tlabel\n"a\tx\nb\tc\ty\n', r"row 1 \(line 2\) .* quote opens there"),
            ("text,label,label\na,x,y\n", r"column 'label' more than once \(columns 2, 3\)"),
            ("Text,label\na,x\n", r"no column 'text' \(it has 'Text', 'label'\); choose one with --text-column"),
            ("a,x\nb,y\n", r"header of .* \(line 1\) has no column 'text' \(it has 'a', 'x'\)"),
            ('[{"text": "a", "label": "x"}]', "is JSON and no CSV; .* --task jsonl:PATH"),
            ("text,label\nsüß,x\n".encode("latin-1"), r"not UTF-8 text \(line 2\)"),
            ("text,label\na,x\nb\0,y\n", r"zero byte \(line 3\)"),
            (b"PK\3\4", "save the sheet as CSV"),
        ],
    )
    def test_what_is_refused(self, contents: str | bytes, reason: str, read_csv: Read) -> None:
        with pytest.raises(DataError, match=reason):
            read_csv(contents)

    def test_many_columns_are_not_all_listed(self, read_csv: Read) -> None:
        with pytest.raises(DataError) as e:
            read_csv(",".join(f"column {i}" for i in range(10_000)))
        assert len(str(e.value)) < 700


class TestJsonLines:
    def test_what_is_read(self, read_jsonl: Callable[[str], list[Row]]) -> None:
        rows = read_jsonl('{"text": "a", "label": 1}\n\n{"label": [2], "text": "b\u2028", "more": null}\r\n')
        assert pairs(rows) == [("a", 1), ("b\u2028", [2])]
        assert [row.place for row in rows] == ["row 1 (line 1)", "row 2 (line 3)"]

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ("[" * 10**5, "cannot be read: recursion limit"),
            ('{"text": ' + "9" * 5000 + "}", "cannot be read: number out of range"),
            (r'{"text": "a \ud83d", "label": 1}', r"half a character.*, column \d+"),
            ('{"text": "a", "label": 1, "label": 2}', 'duplicate key "label"'),
            ('{"text": "a"', "cannot be read: EOF"),
            ('[{"text": "a", "label": 1}]', "no JSON object"),
            ('"text"', "no JSON object"),
            ('{"text": "a"}', r"no column 'label' \(it has 'text'\)"),
        ],
    )
    def test_what_is_refused(self, row: str, reason: str, read_jsonl: Callable[[str], list[Row]]) -> None:
        with pytest.raises(DataError, match=rf"row 2 \(line 3\) .*{reason}"):
            read_jsonl('{"text": "a", "label": 1}\n\n' + row)


class TestParquet:
    def test_only_the_wanted_columns(self, tmp_path: Path) -> None:
        labels = pyarrow.array(["x", "y"]).dictionary_encode()
        table = pyarrow.table({"more": [[1], [2]], "label": labels, "text": ["a", "b"]})
        pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
        rows = list(from_parquet(tmp_path / "t.parquet", COLUMNS))
        assert pairs(rows) == TWO
        assert rows[1] == Row("row 2", {"text": "b", "label": "y"})

    def test_columns_of_one_name(self, tmp_path: Path) -> None:
        columns = [pyarrow.array(["a"])] * 3
        table = pyarrow.Table.from_arrays(columns, ["text", "label", "label"])
        pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
        with pytest.raises(DataError, match=r"'label' more than once \(columns 2, 3\)"):
            list(from_parquet(tmp_path / "t.parquet", COLUMNS))

    def test_cells_that_are_no_text(self, tmp_path: Path) -> None:
        buffers = pyarrow.array([b"a", b"\xff"], pyarrow.binary()).buffers()
        bad = pyarrow.Array.from_buffers(pyarrow.string(), 2, buffers)
        when = pyarrow.array([1, 2], pyarrow.timestamp("ns"))
        pyarrow.parquet.write_table(pyarrow.table({"text": bad, "label": when}), tmp_path / "t.parquet")
        shown = [[str(cell) for cell in row.cells.values()] for row in from_parquet(tmp_path / "t.parquet", COLUMNS)]
        assert shown[0][1] == "a"
        assert shown[1][1] == "what is not UTF-8 text"

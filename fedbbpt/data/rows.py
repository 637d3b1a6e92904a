"""Reads rows of CSV, JSON Lines and Parquet files, each with its place in the file."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fedbbpt.errors import DataError, MissingExtra
from fedbbpt.json_text import parse_strictly
from fedbbpt.printing import short_repr
from fedbbpt.text_files import LINE_END, read_text

LONGEST_CELL = 100_000_000  # characters
LONGEST_HEADER = 100_000  # characters
SEPARATORS = ",\t;|"
DIRECTIVE = re.compile(r"\A\"?sep=.\"?(?=[\r\n])")  # a first line for Excel; the separator is found without it

Columns = Mapping[str, str]  # option that chooses a column -> the column's name


class Row(NamedTuple):
    """The cells of one row in the wanted columns."""

    place: str  # say row 3 (line 5): counted from 1 without header and blank lines; the line where the row begins
    cells: Mapping[str, Any]


class Unreadable(NamedTuple):
    """Takes the place of a cell that cannot be decoded."""

    what: str

    def __repr__(self) -> str:
        return self.what


def from_csv(path: Path, columns: Columns, remarks: list[str]) -> Iterable[Row]:
    """Reads a text file with a header; the separator is the one of `SEPARATORS` that finds the wanted columns in it.

    Quotes enclose cells, as in CSV. If a tab-separated table cannot be read this way, quotes are read as ordinary
    characters, and a remark says so.

    Raises:
        DataError: not a text file, a column is missing or occurs twice, a row has more or fewer cells than the header,
            or a tab-separated table can be read both ways, with different rows.
    """
    csv.field_size_limit(LONGEST_CELL)
    text = DIRECTIVE.sub("", _text(path))
    if text.lstrip().startswith(("{", "[")):
        raise DataError(f"{path} is JSON and no CSV; with an object in each line, --task jsonl:PATH reads it")
    headers = {separator: _header(text, separator) for separator in SEPARATORS}
    fit = [separator for separator in SEPARATORS if set(columns.values()) <= set(headers[separator])]
    separator = fit[0] if fit else max(SEPARATORS, key=lambda separator: len(headers[separator]))
    split = partial(_split, path, text, separator, columns)
    if separator != "\t" or '"' not in text:
        return split(quotes=True)
    return _read_tabs(path, _attempt(split(quotes=True)), _attempt(split(quotes=False)), remarks)


def from_json_lines(path: Path, columns: Columns) -> Iterator[Row]:
    """Reads a file with one JSON object per line.

    Raises:
        DataError: not a text file, a line that is not a JSON object, or one that lacks a column.
    """
    number = 0
    for line, content in enumerate(_lines(_text(path)), 1):
        if not content.strip():
            continue
        number += 1
        place = f"row {number} (line {line})"
        try:
            cells = parse_strictly(content.rstrip().encode())
        except ValueError as e:
            reason = str(e).replace(" at line 1 column", ", column")
            raise DataError(f"{place} of {path} cannot be read: {reason}; JSON Lines has an object in each line") from e
        if not isinstance(cells, dict):
            raise DataError(f"{place} of {path} is no JSON object; JSON Lines has an object in each line")
        check_columns(f"{place} of {path}", list(cells), columns)
        yield Row(place, cells)


def from_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    """Reads a Parquet file.

    Raises:
        MissingExtra: pyarrow is not installed.
        DataError: not a Parquet file, or a column is missing or occurs twice.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise MissingExtra("task 'parquet'", "parquet", e) from e
    number = 0
    try:
        with path.open("rb") as data, pyarrow.parquet.ParquetFile(data) as file:
            check_columns(str(path), file.schema_arrow.names, columns)
            for batch in file.iter_batches(columns=sorted(set(columns.values()))):
                for cells in zip(*map(_values, batch.columns), strict=True):
                    number += 1
                    yield Row(f"row {number}", dict(zip(batch.schema.names, cells, strict=True)))
    except OSError as e:
        raise DataError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from e
    except (pyarrow.ArrowException, UnicodeDecodeError) as e:
        raise DataError(f"cannot read {path} as Parquet: {e}") from e


def check_columns(where: str, names: Sequence[str], columns: Columns) -> None:
    """Raises DataError for a wanted column that is missing or occurs more than once."""
    for option, column in columns.items():
        found = [str(number) for number, name in enumerate(names, 1) if name == column]
        if not found:
            there = short_repr(list(names)).strip("[]") or "none"
            raise DataError(f"{where} has no column {short_repr(column)} (it has {there}); choose one with {option}")
        if len(found) > 1:
            raise DataError(
                f"{where} has the column {column!r} more than once (columns {', '.join(found)}); keep one of them"
            )


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except ValueError as e:
        raise DataError(f"cannot read {path}: {e}") from e


def _lines(text: str) -> Iterator[str]:
    r"""Yields lines with their ends (\n, \r\n or \r); `io.StringIO` would take four bytes per character."""
    return io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8", newline="")


def _header(text: str, separator: str) -> list[str]:
    """The first row that is not blank."""
    lines = csv.reader(_lines(text[:LONGEST_HEADER]), delimiter=separator)
    return next(([cell.strip() for cell in cells] for cells in lines if not _blank(cells)), [])


def _split(path: Path, text: str, separator: str, columns: Columns, quotes: bool) -> Iterator[Row]:
    first = LINE_END.split(text[:LONGEST_HEADER].lstrip(), 1)[0]
    spaced = f"{separator} " in first  # the header shows whether blanks belong to the separators
    lines = csv.reader(
        _lines(text),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        skipinitialspace=spaced,
        strict=True,
    )
    header: list[str] = []
    begins, number = 1, 0
    try:
        for cells in lines:
            begins, line = lines.line_num + 1, begins
            if _blank(cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                check_columns(f"the header of {path} (line {line})", header, columns)
                wanted = {column: header.index(column) for column in columns.values()}
            elif len(cells) != len(header):
                raise DataError(
                    f"row {number} (line {line}) of {path} has not as many cells as the header, {len(cells)} and not "
                    f"{len(header)}; quote the texts that hold {separator!r} or a line end"
                )
            else:
                yield Row(f"row {number} (line {line})", {column: cells[i] for column, i in wanted.items()})
            number += 1
    except csv.Error as e:
        place = f"row {number} (line {begins})" if header else "the header"
        raise DataError(f"{place} of {path} cannot be read: {_advice(e)}") from e


def _attempt(rows: Iterator[Row]) -> list[Row] | DataError:
    try:
        return list(rows)
    except DataError as e:
        return e


def _read_tabs(
    path: Path, quoted: list[Row] | DataError, plain: list[Row] | DataError, remarks: list[str]
) -> list[Row]:
    """The reading that succeeded; the quoted one if both did and yield the same number of rows."""
    if isinstance(quoted, DataError):
        if isinstance(plain, DataError):
            raise quoted
        remarks.append("quotes are read as characters like any other, since they do not stand around whole cells")
        return plain
    if not isinstance(plain, DataError) and len(plain) != len(quoted):
        first = next(row for row in quoted if any(map(LINE_END.search, row.cells.values())))
        raise DataError(
            f"{first.place} of {path} can be read in two ways: quotes stand around several lines, or are characters of "
            "lines that are rows; save the table as JSON Lines"
        )
    return quoted


def _advice(error: csv.Error) -> str:
    """The message of Python's csv module, with advice."""
    if "end of data" in str(error):
        return "a quote opens there that is never closed; close it, or write quotes inside a cell twice"
    return f"{error}; write quotes inside a quoted cell twice" if "expected after" in str(error) else str(error)


def _blank(cells: Sequence[str]) -> bool:
    return len(cells) < 2 and not "".join(cells).strip()


def _values(column: Any) -> list[Any]:
    """The cells of a pyarrow column."""
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):  # raised by one of the cells
        return [_value(cell) for cell in column]
    return values


def _value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return Unreadable("what is not UTF-8 text")
    except (ValueError, OverflowError):
        return Unreadable(f"a {cell.type}")

"""What the command line names, as inputs: files, folders, patterns, tables, and lines of standard input."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fedbbpt.data import cells, layout, rows
from fedbbpt.data.rows import Row
from fedbbpt.data.texts import tidied
from fedbbpt.errors import ConfigError, DataError

COLUMN = "--text-column"
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
TEXTS = (".txt", ".text", ".md")  # what counts as a text in a folder; a file named by itself may have any suffix
STDIN = "-"

Tell = Callable[[str], None]


class Named(NamedTuple):
    """An input with its name: the path of a picture, or a text."""

    name: str
    item: Path | str


def find(names: Sequence[str], text_column: str | None, texts: bool, lines: Iterable[str], tell: Tell) -> list[Named]:
    """All inputs that names stand for, in their order.

    A name is a file; a folder, with the pictures or text files in it and below it; a pattern such as `scans/*.png` or
    `**/*.txt`; a table, each of whose rows is a text; or `-` for standard input, each of whose lines is a text, or the
    path of a picture.

    Args:
        names: as the user wrote them.
        text_column: of the tables; None if unknown.
        texts: whether the model reads texts; else it reads pictures.
        lines: of standard input.
        tell: is told of files that are left out.

    Raises:
        DataError: a name stands for nothing, or a table cannot be read.
        ConfigError: a table, and its column is unknown.
    """
    found: list[Named] = []
    for name in names:
        if name == STDIN:
            found += _from_lines(lines, texts)
        else:
            for path in _matching(name):
                within = _in_folder(path, text_column, texts, tell) if path.is_dir() else [path]
                found += [one for file in within for one in _in_file(file, text_column, texts)]
    return found


def _matching(name: str) -> list[Path]:
    if os.path.exists(name) or not glob.has_magic(name):  # noqa: PTH110 - where Path.exists raises, it says no
        return [Path(name)]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - as shells read it, absolute or not
    if not found:
        raise DataError(f"no file matches {name}; quote a pattern with **, so that the shell leaves it alone")
    return [Path(one) for one in found]


def _in_folder(folder: Path, text_column: str | None, texts: bool, tell: Tell) -> list[Path]:
    wanted = layout.SUFFIXES if not texts else {*TEXTS, *(TABLES if text_column else ())}
    files = sorted(layout.visible_files(folder))
    taken = [file for file in files if file.suffix.lower() in wanted]
    if not taken:
        kinds = "pictures" if not texts else f"texts ({', '.join(TEXTS)}; tables with {COLUMN})"
        raise DataError(f"{folder} holds no {kinds}; name another folder, or the files")
    if left := len(files) - len(taken):
        first = next(file for file in files if file.suffix.lower() not in wanted)
        tell(f"left out of {folder}: {left:,} other files ({first}, …)")
    return taken


def _in_file(file: Path, text_column: str | None, texts: bool) -> Iterator[Named]:
    if not texts or file.suffix.lower() not in TABLES:
        yield Named(str(file), file)
        return
    if text_column is None:
        raise ConfigError(f"{file} is a table; say which column holds its texts with {COLUMN}")
    columns = {COLUMN: text_column}
    found: Iterable[Row]
    match file.suffix.lower():
        case ".jsonl":
            found = rows.from_json_lines(file, columns)
        case ".parquet":
            found = rows.from_parquet(file, columns)
        case _:
            found = rows.from_csv(file, columns, [])
    for row in found:
        try:
            yield Named(f"{file}, {row.place}", cells.text(row.cells[text_column]))
        except cells.Missing as e:
            raise DataError(f"{row.place} of {file} has no {text_column!r}; fill it in or remove the row") from e
        except ValueError as e:
            raise DataError(f"{row.place} of {file}: column {text_column!r} holds {e}") from e


def _from_lines(lines: Iterable[str], texts: bool) -> Iterator[Named]:
    for number, line in enumerate(lines, 1):
        if not (content := line.rstrip("\r\n")).strip():
            continue
        yield Named(f"line {number}", tidied(content)) if texts else Named(content, Path(content))

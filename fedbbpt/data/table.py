"""Anybody's texts: a table with a row an example."""

import csv
import functools
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt

from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Pool, is_test
from fedbbpt.data.sides import Sides, split
from fedbbpt.data.texts import as_texts, fingerprint
from fedbbpt.errors import ConfigError, DataError, MissingExtra
from fedbbpt.types import Dataset, Int64, Size

LONGEST_FIELD = 100_000_000  # characters
Row = Mapping[str, Any]


class Table(ABC):
    """What the kinds of tables share; they differ in how a file is read.

    A text decides the split (see `is_test`), so that copies stay on one side; with `group_column`, say the patient, all
    texts of a group stay there together. `domain_column`, say the hospital, is what data.partition=domain deals by. Of
    the training side, `provider_shots` texts a class belong to the provider; the clients never see these.

    Raises:
        DataError: no such file or column, an unreadable row, a missing value, fewer than two classes.
    """

    kind: str  # set by the subclasses
    modality: Modality = "text"
    alpha = 0.3

    def __init__(
        self,
        argument: str | None,
        /,
        *,
        text_column: str = "text",
        label_column: str = "label",
        group_column: str | None = None,
        domain_column: str | None = None,
        provider_shots: PositiveInt = 16,
    ) -> None:
        if not argument:
            raise ConfigError(f"task '{self.kind}' needs a file: --task {self.kind}:PATH")
        self._path = Path(argument).resolve()
        self.argument = str(self._path)
        self.about = {"title": f"texts in {self._path}"}
        self._columns = {
            "--text-column": text_column,
            "--label-column": label_column,
            "-o task.group_column": group_column,
            "-o task.domain_column": domain_column,
        }
        self._texts, names, self._groups, self._domains = self._read()
        self.classes = _in_order(names)
        numbers = {name: number for number, name in enumerate(self.classes)}
        self._labels = np.array([numbers[name] for name in names], np.int64)
        if len(self.classes) < 2:
            raise DataError(f"column {label_column!r} of {self._path} holds one class only, {self.classes[0]!r}")
        if max(Counter(names).values()) == 1:
            raise DataError(
                f"every row of {self._path} has its own {label_column!r}; is that the right --label-column?"
            )
        self._provider_shots = provider_shots
        self.provider = Provider(self.classes, shots=lambda size: self._side("provider"))

    def load(self, size: Size) -> Pool:
        """See `Task`."""
        return Pool(self._side("train"), self._side("test"))

    @abstractmethod
    def rows(self, path: Path) -> Iterator[Row]:
        """The table's rows by column.

        Raises:
            DataError: they cannot be read.
        """

    def _read(self) -> tuple[list[str], list[str], list[str] | None, list[str] | None]:
        """Texts, names of classes, groups and domains."""
        if not self._path.is_file():
            raise DataError(f"no file {self._path}; --task {self.kind}:PATH wants a table with a header")
        found: dict[str, list[str]] = {option: [] for option, column in self._columns.items() if column}
        for number, row in enumerate(self._decoded(), 1):
            for option in found:
                column = str(self._columns[option])
                if column not in row:
                    raise DataError(
                        f"{self._path} has no column {column!r} in row {number}; it has "
                        f"{', '.join(map(repr, row))}. Choose one with {option}"
                    )
                value = row[column]
                if value is None or not str(value).strip():
                    raise DataError(f"row {number} of {self._path} has no {column!r}; fill it in or remove the row")
                found[option].append(str(value))
        if not any(found.values()):
            raise DataError(f"{self._path} has no rows")
        groups, domains = (found.get(f"-o task.{name}_column") for name in ("group", "domain"))
        return found["--text-column"], found["--label-column"], groups, domains

    def _decoded(self) -> Iterator[Row]:
        try:
            yield from self.rows(self._path)
        except UnicodeDecodeError as e:
            raise DataError(f"{self._path} cannot be read: it is not UTF-8 text; save it as that") from e

    def _side(self, side: str) -> Dataset:
        rows: list[int] = getattr(self._sides, side)
        domains, groups = (_numbered(names, rows) for names in (self._domains, self._groups))
        return Dataset(as_texts([self._texts[i] for i in rows]), self._labels[rows], domains=domains, groups=groups)

    @functools.cached_property
    def _sides(self) -> Sides:
        keys = (
            [fingerprint(text) for text in self._texts] if self._groups is None else [g.encode() for g in self._groups]
        )
        tested = [is_test(key) for key in keys]
        return split(keys, tested, self._labels.tolist(), self.classes, self._provider_shots, "texts")


class Csv(Table):
    """Your own texts, a row each: `csv:PATH` (`.tsv`: with tabs between the columns)."""

    kind = "csv"

    def rows(self, path: Path) -> Iterator[Row]:
        """See `Table`."""
        csv.field_size_limit(LONGEST_FIELD)
        with _reading(path) as file:
            table = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
            try:
                for row in table:
                    if None in row or None in row.values():
                        raise DataError(
                            f"line {table.line_num} of {path} has other columns than the header; quote the texts that "
                            "hold the separator"
                        )
                    yield row
            except csv.Error as e:
                raise DataError(f"{path} cannot be read after line {table.line_num}: {e}") from e


class JsonLines(Table):
    """Your own texts, an object a line: `jsonl:PATH`."""

    kind = "jsonl"

    def rows(self, path: Path) -> Iterator[Row]:
        """See `Table`."""
        with _reading(path) as file:
            number = 0
            try:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        row = json.loads(line)
                        if not isinstance(row, dict):
                            raise DataError(f"line {number} of {path} is no JSON object")
                        yield row
            except json.JSONDecodeError as e:
                raise DataError(f"{path} cannot be read at line {number}: {e}") from e


class Parquet(Table):
    """Your own texts, a row each: `parquet:PATH`."""

    kind = "parquet"

    def rows(self, path: Path) -> Iterator[Row]:
        """See `Table`."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as e:
            raise MissingExtra("task 'parquet'", "parquet", e) from e
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches():
                    yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as e:
            raise DataError(f"{path} cannot be read as Parquet: {e}") from e


def _reading(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as e:
        raise DataError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from e


def _in_order(names: list[str]) -> tuple[str, ...]:
    """Each once; numbers by their value."""
    known = set(names)
    return tuple(sorted(known, key=int) if all(name.isdecimal() for name in known) else sorted(known))


def _numbered(names: list[str] | None, rows: list[int]) -> Int64 | None:
    """The same number for the same name, in the whole table."""
    return None if names is None else np.unique(names, return_inverse=True)[1][rows].astype(np.int64)

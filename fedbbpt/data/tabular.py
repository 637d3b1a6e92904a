"""A user's own texts: a table with one row per example."""

import functools
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt

from fedbbpt.backend import Modality, Provider
from fedbbpt.data import Task, TaskData, cells, rows
from fedbbpt.data.rows import Columns, Row
from fedbbpt.data.texts import as_seen, as_texts, fingerprint
from fedbbpt.data.train_test_split import SplitIndices, drop_duplicates, group_ids, train_test_split
from fedbbpt.errors import ConfigError, DataError
from fedbbpt.text_files import absolute_path
from fedbbpt.types import Dataset, Int64, Size

TEXT, LABEL, GROUP, DOMAIN = "--text-column", "--label-column", "-o task.group_column", "-o task.domain_column"
EXAMPLES = 3  # named in a remark on labels that are not read as written


class TabularTask(Task, ABC):
    """Base class of the tables; subclasses read the kinds of files.

    Texts are in the column `text_column`, their classes in `label_column`. About a fifth of each class becomes test
    data. A hash of the text decides which (see `train_test_split`), so that
    copies stay on one side; with `group_column`, say the patient, all texts of a group do. data.partition=domain
    divides the examples by `domain_column`, say the hospital. `provider_shots_per_class` training texts of each class
    belong to the provider; the clients never see these. With 0, the provider has none, and one class is enough: a site
    of a federation may hold a single one.

    Raises:
        DataError: no such file or column, an unreadable row, a cell that is empty or not a text or label (see `cells`),
            or one class where the provider has examples.
    """

    kind: str  # set by the subclasses
    modality: Modality = "text"

    def __init__(
        self,
        source: str | None,
        /,
        *,
        text_column: str = "text",
        label_column: str = "label",
        group_column: str | None = None,
        domain_column: str | None = None,
        provider_shots_per_class: NonNegativeInt = 16,
    ) -> None:
        if not source:
            raise ConfigError(f"task '{self.kind}' needs a file: --task {self.kind}:PATH")
        if text_column == label_column:
            raise ConfigError(f"{text_column!r} cannot be the column of both texts and labels; change one of the two")
        try:
            self.path = absolute_path(source)
        except ValueError as e:
            raise DataError(f"cannot read {source!r}: {e}") from e
        self.source = str(self.path)
        self.metadata = {"title": f"texts in {self.path}"}
        self.remarks: list[str] = []
        columns = {TEXT: text_column, LABEL: label_column, GROUP: group_column, DOMAIN: domain_column}
        self.columns: Columns = {option: column for option, column in columns.items() if column is not None}
        read = self._read()
        self._texts, names, self._groups, self._domains = read[TEXT], read[LABEL], read.get(GROUP), read.get(DOMAIN)
        self.classes = cells.in_order(names)
        self.remarks += cells.doubts(self.classes)
        numbers = {name: number for number, name in enumerate(self.classes)}
        self._labels = np.array([numbers[name] for name in names], np.int64)
        if len(self.classes) < 2 and provider_shots_per_class:
            raise DataError(f"column {label_column!r} of {self.path} holds one class only, {self.classes[0]!r}")
        if max(Counter(names).values()) == 1:
            raise DataError(f"every row of {self.path} has its own {label_column!r}; is that the right --label-column?")
        self._provider_shots = provider_shots_per_class
        shots = (lambda size: self._subset("provider")) if provider_shots_per_class else None
        self.provider = Provider(self.classes, shots=shots)

    def load(self, size: Size) -> TaskData:
        """See `Task`."""
        data = TaskData(
            self._subset("train"), self._subset("test"), provider_examples=len(self._split.provider), user_supplied=True
        )
        shots = self.provider.shots and self.provider.shots(size)
        return drop_duplicates(data, shots, self.classes, self.remarks)

    @abstractmethod
    def rows(self) -> Iterable[Row]:
        """Reads the rows of the columns in `self.columns`, and adds to `self.remarks`.

        Raises:
            DataError: the file cannot be read.
        """

    def _read(self) -> dict[str, list[str]]:
        """Reads the cells of each column, by the option that chooses it."""
        found: dict[str, list[str]] = {option: [] for option in self.columns}
        changed: dict[str, Counter[tuple[str, str]]] = {column: Counter() for column in self.columns.values()}
        for row in self.rows():
            if all(str(row.cells[column]).strip("\ufeff ") == column for column in self.columns.values()):
                raise DataError(f"{row.place} of {self.path} is the header once more; remove it")
            for option, column in self.columns.items():
                value = row.cells[column]
                try:
                    read = cells.text(value) if option == TEXT else cells.label(value)
                except cells.Missing as e:
                    raise DataError(
                        f"{row.place} of {self.path} has no {column!r}; fill it in or remove the row"
                    ) from e
                except ValueError as e:
                    raise DataError(f"{row.place} of {self.path}: column {column!r} holds {e}") from e
                found[option].append(read)
                if option != TEXT and str(value) != read:
                    changed[column][str(value), read] += 1
        if not any(found.values()):
            raise DataError(f"{self.path} has no rows")
        self.remarks += [_changes(column, counts, len(found[TEXT])) for column, counts in changed.items() if counts]
        return found

    def _subset(self, name: Literal["provider", "train", "test"]) -> Dataset:
        rows: list[int] = getattr(self._split, name)
        texts, groups = as_texts([self._texts[i] for i in rows]), group_ids(self._keys, rows)
        return Dataset(texts, self._labels[rows], domains=_numbered(self._domains, rows), groups=groups)

    @functools.cached_property
    def _keys(self) -> list[bytes]:
        """Rows of equal keys stay in one subset."""
        if self._groups is not None:
            return [group.encode() for group in self._groups]
        return [fingerprint(as_seen(text)) for text in self._texts]

    @functools.cached_property
    def _split(self) -> SplitIndices:
        return train_test_split(
            self._keys, self._labels.tolist(), self.classes, self._provider_shots, "texts", where=_row
        )


class Csv(TabularTask):
    """Your own texts, one per row: `csv:PATH` (separated by commas, tabs, semicolons or `|`)."""

    kind = "csv"

    def rows(self) -> Iterable[Row]:
        """See `TabularTask`."""
        return rows.from_csv(self.path, self.columns, self.remarks)


class JsonLines(TabularTask):
    """Your own texts, one JSON object per line: `jsonl:PATH`."""

    kind = "jsonl"

    def rows(self) -> Iterable[Row]:
        """See `TabularTask`."""
        return rows.from_json_lines(self.path, self.columns)


class Parquet(TabularTask):
    """Your own texts, one per row: `parquet:PATH`."""

    kind = "parquet"
    extra = "parquet"

    def rows(self) -> Iterable[Row]:
        """See `TabularTask`."""
        return rows.from_parquet(self.path, self.columns)


def _changes(column: str, counts: Counter[tuple[str, str]], rows: int) -> str:
    """A remark on labels that are not read as written."""
    most = counts.most_common(EXAMPLES)
    texts = [f"{raw!r} is read as {read!r} (in {n:,} of {rows:,} rows)" for (raw, read), n in most]
    if len(counts) > EXAMPLES:
        texts.append(f"and {len(counts) - EXAMPLES:,} others likewise")
    return f"in column {column!r}, {', '.join(texts)}"


def _row(i: int) -> str:
    return f"row {i + 1}"


def _numbered(names: list[str] | None, rows: list[int]) -> Int64 | None:
    """Numbers names as in the whole table, so that a name has the same number in each subset."""
    return None if names is None else np.unique(names, return_inverse=True)[1][rows].astype(np.int64)

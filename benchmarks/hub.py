"""Readers of the papers' data sets, in the format that the Hugging Face hub keeps them in: Parquet by split.

Of large splits a fixed draw is used: the examples whose numbers have the lowest hashes.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from fedbbpt.assets import store
from fedbbpt.errors import DataError, MissingExtra
from fedbbpt_benchmarks.pictures.picture import Picture, decoded
from fedbbpt_benchmarks.texts.text import Text, shown

BATCH = 64  # rows read at a time

Row = dict[str, Any]


class Split(NamedTuple):
    """One side of a data set, or with `official` None both."""

    files: str  # pattern of the paths
    examples: int  # labelled ones, as its publishers state
    most: int  # to be used
    official: bool | None  # whether it is for tests; None: a split of our own


def hub_pictures(
    asset: str,
    splits: tuple[Split, ...],
    classes: tuple[str, ...],
    image: str = "image",
    label: str = "label",
    first: int = 0,
    once: tuple[str, ...] = (),
) -> Iterator[Picture]:
    """Pictures of a data set; of those that agree in the columns `once`, say the frames of a clip, only the first.

    `first` is the number that stands for the first class.
    """
    for split in splits:
        for key, row in _drawn(asset, split, (image, label, *once), label, range(first, first + len(classes)), once):
            yield Picture(key, classes[row[label] - first], decoded(row[image]["bytes"]), official=split.official)


def hub_texts(
    asset: str, splits: tuple[Split, ...], classes: tuple[str, ...], columns: tuple[str, ...], label: str = "label"
) -> Iterator[Text]:
    """Texts of a data set; the columns of a pair are joined by a space."""
    for split in splits:
        for key, row in _drawn(asset, split, (*columns, label), label, range(len(classes)), ()):
            text = shown(" ".join(row[column] for column in columns))
            yield Text(key, classes[row[label]], text, official=split.official)


def _drawn(
    asset: str, split: Split, columns: tuple[str, ...], label: str, labels: range, once: tuple[str, ...]
) -> Iterator[tuple[str, Row]]:
    """Key and row of the examples that are used; those without a label, which is −1 then, do not count."""
    key: Callable[[int], str] = f"{asset}/{split.files}/{{}}".format
    ranked = sorted(range(split.examples), key=lambda i: sha256(key(i).encode()).digest())
    chosen, number, seen = set(ranked[: split.most]), 0, set()
    for row in _rows(asset, split.files, columns):
        same = tuple(row[column] for column in once)
        if row[label] not in labels or (once and same in seen):
            continue
        seen.add(same)
        if number in chosen:
            yield key(number), row
        number += 1
    if number != split.examples:
        raise DataError(
            f"{asset} has {number:,} labelled examples in {split.files}, where {split.examples:,} were expected"
        )


def _rows(asset: str, files: str, columns: tuple[str, ...]) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise MissingExtra(f"the data set {asset}", "hub", e) from e
    folder: Path = store.fetch(asset)
    found = sorted(path for path in folder.rglob("*.parquet") if fnmatch(path.relative_to(folder).as_posix(), files))
    if not found:
        raise DataError(f"{folder} holds no {files}")
    for path in found:
        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                if missing := set(columns) - set(file.schema_arrow.names):
                    raise DataError(f"{path} has no column {min(missing)!r}, only {', '.join(file.schema_arrow.names)}")
                for batch in file.iter_batches(BATCH, columns=list(columns)):
                    yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as e:
            raise DataError(f"{path} cannot be read ({e}); remove {folder} and fetch it again") from e

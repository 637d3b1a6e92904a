"""Readers of the papers' data sets in the format of the Hugging Face hub: Parquet files by split.

Of large splits a fixed subsample is used: the examples whose numbers have the lowest hashes.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from fedbbpt.assets import store
from fedbbpt.errors import DataError, MissingExtra
from fedbbpt_benchmarks.images.example import ImageExample, decode
from fedbbpt_benchmarks.texts.example import TextExample, normalise

BATCH = 64  # rows read at a time

Row = dict[str, Any]


class HubSplit(NamedTuple):
    """The files of one split of a data set."""

    files: str  # pattern of the paths
    examples: int  # labelled examples, as the publishers state
    limit: int  # examples to use
    official: bool | None  # whether it is the test split; None: both sides, split by us


def hub_images(
    asset: str,
    splits: tuple[HubSplit, ...],
    classes: tuple[str, ...],
    image: str = "image",
    label: str = "label",
    first: int = 0,
    once: tuple[str, ...] = (),
) -> Iterator[ImageExample]:
    """Images of a data set, with only the first of those that agree in the columns `once`, say the frames of a clip.

    `first` is the label of the first class.
    """
    for split in splits:
        for key, row in _sample(asset, split, (image, label, *once), label, range(first, first + len(classes)), once):
            yield ImageExample(key, classes[row[label] - first], decode(row[image]["bytes"]), official=split.official)


def hub_texts(
    asset: str, splits: tuple[HubSplit, ...], classes: tuple[str, ...], columns: tuple[str, ...], label: str = "label"
) -> Iterator[TextExample]:
    """Texts of a data set; the columns of a pair are joined with a space."""
    for split in splits:
        for key, row in _sample(asset, split, (*columns, label), label, range(len(classes)), ()):
            text = normalise(" ".join(row[column] for column in columns))
            yield TextExample(key, classes[row[label]], text, official=split.official)


def _sample(
    asset: str, split: HubSplit, columns: tuple[str, ...], label: str, labels: range, once: tuple[str, ...]
) -> Iterator[tuple[str, Row]]:
    """Yields key and row of the used examples; those without a label (−1) do not count."""
    key: Callable[[int], str] = f"{asset}/{split.files}/{{}}".format
    ranked = sorted(range(split.examples), key=lambda i: sha256(key(i).encode()).digest())
    chosen, number, seen = set(ranked[: split.limit]), 0, set()
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

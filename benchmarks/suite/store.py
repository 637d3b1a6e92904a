"""A task's examples, read once and kept beside the assets: texts as JSON, images as a memory-mapped array."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.assets.store import cache_folder, fetch, locked
from fedbbpt.data import images, texts
from fedbbpt.dry_run import is_dry_run
from fedbbpt.errors import DataError
from fedbbpt.types import Int64, Size

if TYPE_CHECKING:
    from fedbbpt_benchmarks.suite.row import Row

FORMAT = 4  # of the index
TRAIN, TEST, DROPPED = 0, 1, -1  # sides; dropped from the test


@dataclass(frozen=True)
class Kept:
    """What the cache holds of a task."""

    inputs: NDArray[Any]  # (n, 3, h, w) uint8, on disk; or (n,) of str
    labels: Int64  # (n,)
    sides: Int64  # (n,)
    keys: list[str]
    domains: Int64 | None  # (n,): which of the origins, where there are several

    def side(self, side: int) -> Int64:
        """The rows of one side."""
        return np.flatnonzero(self.sides == side)


def prepare(name: str, row: "Row", size: Size) -> Kept:
    """The examples of a row, images at a size (h, w); read and decoded on first use.

    Raises:
        DataError: an asset cannot be had, or the reader finds other examples than the row publishes.
    """
    folder = cache_folder() / "tasks"
    index = folder / (f"{name}-{size[0]}x{size[1]}.json" if size else f"{name}.json")
    made_of = {"format": FORMAT, "assets": [ASSETS[asset].content_id for asset in row.assets]}
    if is_dry_run() and not index.is_file():
        for asset in row.assets:
            fetch(asset)  # says what is missing before a folder is made for it
    with locked(folder, index.stem):
        facts = json.loads(index.read_text("utf-8")) if index.is_file() else {}
        if facts.get("made_of") != made_of:
            facts = {"made_of": made_of, **_build(row, size, index)}
            _write(index, json.dumps(facts, ensure_ascii=False).encode())
    _check_published(name, row, facts["sides"])
    if size:
        inputs: NDArray[Any] = np.memmap(_pixels(index), np.uint8, "r", shape=(len(facts["labels"]), 3, *size))
    else:
        inputs = texts.as_texts(facts["texts"])
    labels, sides = (np.array(facts[column], np.int64) for column in ("labels", "sides"))
    names, domains = np.unique(facts["domains"], return_inverse=True)
    return Kept(inputs, labels, sides, facts["keys"], domains if len(names) > 1 else None)


def _check_published(name: str, row: "Row", sides: list[int]) -> None:
    found = {side: sides.count(code) for side, code in (("train", TRAIN), ("test", TEST), ("dropped", DROPPED))}
    published = {side: getattr(row, side) for side in found}
    if row.dropped is None:
        published |= {"test": row.test - found["dropped"], "dropped": found["dropped"]}
    if found != published:
        raise DataError(f"the reader of {name} finds {found}, but the row publishes {published}")


def _build(row: "Row", size: Size, index: Path) -> dict[str, Any]:
    """Reads one example after the other; decoded images go to disk, before the index makes them count."""
    columns: dict[str, list[Any]] = {"labels": [], "sides": [], "keys": [], "domains": []}
    prints: list[bytes] = []
    partial = index.with_suffix(".partial")
    with partial.open("wb") as file:
        for example in row.read():
            if example.label not in row.classes:
                continue
            if size:
                file.write(images.to_array(example.image, size).tobytes())
                prints.append(images.fingerprint(example.image))
            elif example.text:
                columns.setdefault("texts", []).append(example.text)
                prints.append(texts.fingerprint(example.text))
            else:
                continue
            columns["labels"].append(row.classes.index(example.label))
            columns["sides"].append(TEST if example.for_test else TRAIN)
            columns["keys"].append(example.key)
            columns["domains"].append(example.domain)
        file.flush()
        os.fsync(file.fileno())
    if size:
        partial.replace(_pixels(index))
    known = {p for p, side in zip(prints, columns["sides"], strict=True) if side == TRAIN}
    pairs = zip(prints, columns["sides"], strict=True)
    columns["sides"] = [DROPPED if side == TEST and p in known else side for p, side in pairs]
    first: dict[bytes, str] = {}  # what looks alike shares a key, so that provider, training and validation differ
    columns["keys"] = [first.setdefault(p, key) for p, key in zip(prints, columns["keys"], strict=True)]
    return columns


def _pixels(index: Path) -> Path:
    return index.with_suffix(".u8")


def _write(index: Path, contents: bytes) -> None:
    partial = index.with_suffix(".partial")
    partial.write_bytes(contents)
    partial.replace(index)

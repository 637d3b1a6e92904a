"""A task's examples, decoded once and kept as a memory-mapped array beside the assets."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.assets.store import cache, locked
from fedbbpt.assets.table import ASSETS
from fedbbpt.data.images import fingerprint, to_array
from fedbbpt.errors import DataError
from fedbbpt.types import Int64

if TYPE_CHECKING:
    from fedbbpt_benchmarks.suite.row import Row


@dataclass(frozen=True)
class Kept:
    """What the cache holds of a task."""

    images: NDArray[np.uint8]  # (n, 3, h, w), on disk
    labels: Int64  # (n,)
    tested: NDArray[np.int64]  # (n,): 0 training side, 1 test side, -1 dropped from the test
    keys: list[str]
    domains: Int64 | None  # (n,): which of the origins, where there are several

    def side(self, *, test: bool) -> Int64:
        """The rows of one side."""
        return np.flatnonzero(self.tested == int(test))


def prepare(name: str, row: "Row", size: tuple[int, int]) -> Kept:
    """The examples of a row at a size (h, w), read and decoded on first use.

    Raises:
        DataError: an asset cannot be had, or the reader finds other examples than the row publishes.
    """
    h, w = size
    folder = cache() / "tasks"
    pixels = folder / f"{name}-{h}x{w}.u8"
    index = pixels.with_suffix(".json")
    made_of = [ASSETS[asset].sha256 for asset in row.assets]
    with locked(folder, pixels.stem):
        facts = json.loads(index.read_text()) if index.is_file() else {"assets": None}
        if facts["assets"] != made_of:
            facts = _build(row, size, pixels, index, made_of)
    found = {side: facts["tested"].count(code) for side, code in (("train", 0), ("test", 1), ("dropped", -1))}
    published = {side: getattr(row, side) for side in found}
    if found != published:
        raise DataError(f"the reader of {name} finds {found}, but the row publishes {published}")
    images = np.memmap(pixels, np.uint8, "r", shape=(len(facts["labels"]), 3, h, w))
    labels, tested = (np.array(facts[column], np.int64) for column in ("labels", "tested"))
    names, domains = np.unique(facts["domains"], return_inverse=True)
    return Kept(images, labels, tested, facts["keys"], domains if len(names) > 1 else None)


def _build(row: "Row", size: tuple[int, int], pixels: Path, index: Path, made_of: list[str]) -> dict[str, Any]:
    """Decodes one picture after the other to disk; the index, written last, makes them count."""
    columns: dict[str, list[Any]] = {"labels": [], "tested": [], "keys": [], "domains": []}
    prints: list[bytes] = []
    partial = pixels.with_suffix(".partial")
    with partial.open("wb") as file:
        for picture in row.read():
            if picture.label not in row.classes:
                continue
            file.write(to_array(picture.image, size).tobytes())
            prints.append(fingerprint(picture.image))
            columns["labels"].append(row.classes.index(picture.label))
            columns["tested"].append(int(picture.for_test))
            columns["keys"].append(picture.key)
            columns["domains"].append(picture.domain)
        file.flush()
        os.fsync(file.fileno())
    known = {p for p, tested in zip(prints, columns["tested"], strict=True) if not tested}
    columns["tested"] = [-1 if t and p in known else t for p, t in zip(prints, columns["tested"], strict=True)]
    partial.replace(pixels)
    facts = {"assets": made_of, **columns}
    partial.write_text(json.dumps(facts))
    partial.replace(index)
    return facts

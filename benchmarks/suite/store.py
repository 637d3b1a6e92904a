"""The cache of tasks' examples: each task is read once; texts stay as JSON, images as a memory-mapped array."""

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
    from fedbbpt_benchmarks.suite.task import TaskSpec

FORMAT = 4  # of the index
TRAIN, TEST, DROPPED = 0, 1, -1  # sides of the split; dropped: left out of the test


@dataclass(frozen=True)
class StoredTask:
    """The examples of a task in the cache."""

    inputs: NDArray[Any]  # (n, 3, h, w) uint8, on disk; or (n,) of str
    labels: Int64  # (n,)
    sides: Int64  # (n,)
    keys: list[str]
    domains: Int64 | None  # (n,): the origins' numbers, if there are several

    def rows(self, side: int) -> Int64:
        """The rows of one side of the split."""
        return np.flatnonzero(self.sides == side)


def prepare(name: str, spec: "TaskSpec", size: Size) -> StoredTask:
    """The examples of a task, images at `size` (h, w); read and decoded on first use.

    Raises:
        DataError: an asset cannot be fetched, or the counts differ from the published ones.
    """
    folder = cache_folder() / "tasks"
    index = folder / (f"{name}-{size[0]}x{size[1]}.json" if size else f"{name}.json")
    made_of = {"format": FORMAT, "assets": [ASSETS[asset].content_id for asset in spec.assets]}
    if is_dry_run() and not index.is_file():
        for asset in spec.assets:
            fetch(asset)  # reports what is missing before a folder is created for it
    with locked(folder, index.stem):
        facts = json.loads(index.read_text("utf-8")) if index.is_file() else {}
        if facts.get("made_of") != made_of:
            facts = {"made_of": made_of, **_build(spec, size, index)}
            _write(index, json.dumps(facts, ensure_ascii=False).encode())
    _check_published(name, spec, facts["sides"])
    if size:
        inputs: NDArray[Any] = np.memmap(_pixels(index), np.uint8, "r", shape=(len(facts["labels"]), 3, *size))
    else:
        inputs = texts.as_texts(facts["texts"])
    labels, sides = (np.array(facts[column], np.int64) for column in ("labels", "sides"))
    names, domains = np.unique(facts["domains"], return_inverse=True)
    return StoredTask(inputs, labels, sides, facts["keys"], domains if len(names) > 1 else None)


def _check_published(name: str, spec: "TaskSpec", sides: list[int]) -> None:
    found = {side: sides.count(code) for side, code in (("train", TRAIN), ("test", TEST), ("dropped", DROPPED))}
    published = {side: getattr(spec, side) for side in found}
    if spec.dropped is None:
        published |= {"test": spec.test - found["dropped"], "dropped": found["dropped"]}
    if found != published:
        raise DataError(f"the reader of {name} finds {found}, but its spec publishes {published}")


def _build(spec: "TaskSpec", size: Size, index: Path) -> dict[str, Any]:
    """Reads the examples one by one; decoded images go to disk before the index that refers to them."""
    columns: dict[str, list[Any]] = {"labels": [], "sides": [], "keys": [], "domains": []}
    prints: list[bytes] = []
    partial = index.with_suffix(".partial")
    with partial.open("wb") as file:
        for example in spec.read():
            if example.label not in spec.classes:
                continue
            if size:
                file.write(images.to_array(example.image, size).tobytes())
                prints.append(images.fingerprint(example.image))
            elif example.text:
                columns.setdefault("texts", []).append(example.text)
                prints.append(texts.fingerprint(example.text))
            else:
                continue
            columns["labels"].append(spec.classes.index(example.label))
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
    first: dict[bytes, str] = {}  # images that look alike share a key, so that provider, training and validation differ
    columns["keys"] = [first.setdefault(p, key) for p, key in zip(prints, columns["keys"], strict=True)]
    return columns


def _pixels(index: Path) -> Path:
    return index.with_suffix(".u8")


def _write(index: Path, contents: bytes) -> None:
    partial = index.with_suffix(".partial")
    partial.write_bytes(contents)
    partial.replace(index)

"""What a task holds: counts, duplicates, and a sheet of its pictures."""

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fedbbpt.data import TaskData
from fedbbpt.data.partition import label_counts
from fedbbpt.printing import one_line
from fedbbpt.types import Dataset, Int64

SIDE = 64  # px of a picture on the sheet
ACROSS = 10
SHOWN = 100  # characters of a text
MARGIN, NAME = 6, 200  # px around pictures; px for the names of the classes


class Inspection(NamedTuple):
    """Facts of a pool, counted in its arrays."""

    classes: list[tuple[str, int, int]]  # name, examples for training, for the test
    repeated: dict[str, int]  # side -> examples that show what another one of the side shows
    shared: int  # test examples that show what a training example shows
    conflicting: int  # examples that show what one of another class shows


def inspect(pool: TaskData, classes: Sequence[str]) -> Inspection:
    """Counts everything; two pictures are the same if all their pixels are, two texts if all their characters are."""
    counts = zip(classes, *(label_counts(side, len(classes)) for side in (pool.train, pool.test)), strict=True)
    shown = {side: list(map(_digest, data.contents())) for side, data in (("train", pool.train), ("test", pool.test))}
    repeated = {side: len(digests) - len(set(digests)) for side, digests in shown.items()}
    known = set(shown["train"])
    labels: dict[bytes, set[int]] = defaultdict(set)
    everything, of_all = [*shown["train"], *shown["test"]], np.concatenate([pool.train.labels, pool.test.labels])
    for digest, label in zip(everything, of_all.tolist(), strict=True):
        labels[digest].add(label)
    conflicting = sum(len(labels[digest]) > 1 for digest in everything)
    return Inspection(list(counts), repeated, sum(digest in known for digest in shown["test"]), conflicting)


def contact_sheet(data: Dataset, classes: Sequence[str]) -> Image.Image:
    """Some pictures of every class, a row each."""
    step = SIDE + MARGIN
    sheet = Image.new("RGB", (NAME + ACROSS * step + MARGIN, len(classes) * step + MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, name in enumerate(classes):
        top = MARGIN + row * step
        pen.text((MARGIN, top + SIDE / 2), one_line(name), "black", font, anchor="lm")
        for column, i in enumerate(_spread(data, row, ACROSS)):
            picture = Image.fromarray(data.inputs[i].transpose(1, 2, 0))
            sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.NEAREST), (NAME + column * step, top))
    return sheet


def samples(data: Dataset, classes: Sequence[str]) -> list[tuple[str, str]]:
    """Two texts of every class, by its name, cut."""
    rows = [(name, i) for label, name in enumerate(classes) for i in _spread(data, label, 2)]
    return [(name, textwrap.shorten(str(data.inputs[i]), SHOWN, placeholder=" …")) for name, i in rows]


def _spread(data: Dataset, label: int, count: int) -> Int64:
    """Rows of a class, as far from each other as can be: neighbours are often variants."""
    rows: Int64 = np.flatnonzero(data.labels == label)
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)]


def _digest(content: bytes) -> bytes:
    return sha256(content).digest()

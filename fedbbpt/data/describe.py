"""What a task holds: counts, duplicates, sample texts, and a contact sheet of its images."""

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

TILE = 64  # px per side of an image on the sheet
COLUMNS = 10
TEXTS_PER_CLASS = 2
MAX_CHARACTERS = 100  # of a sample text
MARGIN, NAME_WIDTH = 6, 200  # px around images; px for the names of classes


class Description(NamedTuple):
    """Counts over a task's data."""

    classes: list[tuple[str, int, int]]  # name, training examples, test examples
    duplicates: dict[str, int]  # by subset: examples that repeat another one of the subset
    leaked: int  # test examples that equal a training example
    conflicting: int  # examples that equal one of another class


def describe(data: TaskData, classes: Sequence[str]) -> Description:
    """Counts classes and duplicates; examples are equal if all pixels or all characters are."""
    counts = zip(classes, *(label_counts(subset, len(classes)) for subset in (data.train, data.test)), strict=True)
    digests = {name: list(map(_digest, one.contents())) for name, one in (("train", data.train), ("test", data.test))}
    duplicates = {name: len(found) - len(set(found)) for name, found in digests.items()}
    known = set(digests["train"])
    labels: dict[bytes, set[int]] = defaultdict(set)
    everything, all_labels = (
        [*digests["train"], *digests["test"]],
        np.concatenate([data.train.labels, data.test.labels]),
    )
    for digest, label in zip(everything, all_labels.tolist(), strict=True):
        labels[digest].add(label)
    conflicting = sum(len(labels[digest]) > 1 for digest in everything)
    return Description(list(counts), duplicates, sum(digest in known for digest in digests["test"]), conflicting)


def contact_sheet(data: Dataset, classes: Sequence[str]) -> Image.Image:
    """Draws up to `COLUMNS` images of each class, one row per class."""
    step = TILE + MARGIN
    sheet = Image.new("RGB", (NAME_WIDTH + COLUMNS * step + MARGIN, len(classes) * step + MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, name in enumerate(classes):
        top = MARGIN + row * step
        pen.text((MARGIN, top + TILE / 2), one_line(name), "black", font, anchor="lm")
        for column, i in enumerate(_spread(data, row, COLUMNS)):
            image = Image.fromarray(data.inputs[i].transpose(1, 2, 0))
            sheet.paste(image.resize((TILE, TILE), Image.Resampling.NEAREST), (NAME_WIDTH + column * step, top))
    return sheet


def samples(data: Dataset, classes: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of a class and one of its texts, shortened; up to `TEXTS_PER_CLASS` per class."""
    rows = [(name, i) for label, name in enumerate(classes) for i in _spread(data, label, TEXTS_PER_CLASS)]
    return [(name, textwrap.shorten(str(data.inputs[i]), MAX_CHARACTERS, placeholder=" …")) for name, i in rows]


def _spread(data: Dataset, label: int, count: int) -> Int64:
    """Evenly spaced rows of a class: neighbours are often variants of each other."""
    rows: Int64 = np.flatnonzero(data.labels == label)
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)]


def _digest(content: bytes) -> bytes:
    return sha256(content).digest()

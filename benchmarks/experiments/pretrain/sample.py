"""Draws what the model card scores: random examples of a task, none of which is on both sides."""

from typing import NamedTuple

import numpy as np

from fedbbpt.data.images import fingerprint
from fedbbpt.types import Int64
from fedbbpt_benchmarks.experiments.pretrain.tasks import CardTask
from fedbbpt_benchmarks.images import ImageExample


class Sample(NamedTuple):
    """Random examples of a task's two sides, with labels as numbers (n,)."""

    train: list[ImageExample]
    train_labels: Int64
    test: list[ImageExample]
    test_labels: Int64


def sample(task: CardTask, limit: int | None = None) -> Sample:
    """At most `limit` (by default the task's) random examples a side; tested are the classes drawn for training.

    What looks the same as a picture of the training side is not tested either: flags, say, of which there are several
    under different names.
    """
    sides = task.read()
    known = {fingerprint(picture.image) for picture in sides.train}
    unknown = [picture for picture in sides.test if fingerprint(picture.image) not in known]
    train, test = (_some(side, limit or task.limit) for side in (sides.train, unknown))
    classes = sorted({picture.label for picture in train})
    test = [picture for picture in test if picture.label in classes]
    train_labels, test_labels = (np.array([classes.index(p.label) for p in side]) for side in (train, test))
    return Sample(train, train_labels, test, test_labels)


def _some(side: list[ImageExample], limit: int) -> list[ImageExample]:
    return [side[i] for i in np.random.default_rng(0).permutation(len(side))[:limit]]

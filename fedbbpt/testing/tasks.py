"""The contract of tasks: labelled images or texts, on sides that share no example.

def test_my_task():
    check_task(MyTask, "what/follows/the/colon", seed=3)
"""

from itertools import combinations
from typing import Any

import numpy as np

from fedbbpt.data import Task
from fedbbpt.testing.expect import expect
from fedbbpt.types import Dataset, Size

SIZE, LARGE = (8, 12), (24, 24)  # (h, w): images that differ may be alike when they are small


def check_task(kind: type[Task], source: str | None = None, /, **options: Any) -> None:
    """Checks all promises of `Task`. Loads the task several times.

    Args:
        kind: the class.
        source: what follows the colon in the task's name.
        options: those of its options that are not to have their defaults.

    Raises:
        ContractError: a promise is broken; says which.
    """
    expect(Task in kind.__mro__, "the class derives from Task")
    modality = kind.modality_of(kind.resolve_options(source, options))
    expect(modality in ("image", "text"), "the class says its modality, image or text")
    built: Any = kind
    task = built(source, **options)
    expect(task.modality == modality, "the task holds what its class says")
    for check in TASK_CHECKS:
        check(task)


def check_inputs(task: Task) -> None:
    """Images are bytes of the wanted size, texts strings."""
    for part, data in _parts(task, _size(task)):
        if task.modality == "image":
            expect(data.inputs.dtype == np.uint8, f"images are uint8: {part}")
            expect(data.inputs.shape == (len(data), 3, *SIZE), f"images are (N, 3, h, w) of the wanted size: {part}")
        else:
            expect(data.inputs.shape == (len(data),), f"texts are an array (N,): {part}")
            expect(all(isinstance(data.inputs[i], str) for i in range(len(data))), f"texts are strings: {part}")


def check_labels(task: Task) -> None:
    """Labels are int64, and every class has examples on both sides."""
    for part, data in _parts(task, _size(task)):
        expect(data.labels.dtype == np.int64 and data.labels.shape == (len(data),), f"labels are int64 (N,): {part}")
        wanted, found = set(range(len(task.classes))), set(data.labels.tolist())
        expect(found == wanted, f"labels number the classes, and each class has examples: {part}")


def check_sides(task: Task) -> None:
    """No example is on two sides, the provider's included."""
    size = LARGE if task.modality == "image" else None
    sides = {part: set(data.contents()) for part, data in _parts(task, size)}
    if task.provider.shots is not None:
        sides["the provider's examples"] = set(task.provider.shots(size).contents())
    expect(len(sides["train"]) >= 8, "there are eight training examples that differ")
    for (one, some), (other, others) in combinations(sides.items(), 2):
        expect(not some & others, f"no example is on two sides: {one}, {other}")


def check_loading(task: Task) -> None:
    """Loading again gives the same examples in the same order."""
    first, second = (_parts(task, _size(task)) for _ in range(2))
    for (part, a), (_, b) in zip(first, second, strict=True):
        same = list(a.contents()) == list(b.contents()) and np.array_equal(a.labels, b.labels)
        expect(same, f"loading again gives the same examples in the same order: {part}")


def check_classes(task: Task) -> None:
    """At least two classes of different names, which the provider knows; its examples are of these."""
    expect(len(set(task.classes)) == len(task.classes) >= 2, "there are two classes or more, all of different names")
    expect(task.provider.classes == task.classes, "the provider knows the classes")
    expect(task.dirichlet_alpha > 0, "dirichlet_alpha is positive")
    if task.provider.shots is not None:
        labels = task.provider.shots(_size(task)).labels
        wanted = set(range(len(task.classes)))
        expect(labels.dtype == np.int64 and set(labels.tolist()) == wanted, "the provider has examples of all classes")


def check_metadata(task: Task) -> None:
    """Something is known of the data's origin: text by text, and a title."""
    expect(bool(task.metadata.get("title")), "the metadata hold a title")
    texts = all(isinstance(text, str) for pair in task.metadata.items() for text in pair)
    expect(texts, "names and values of the metadata are texts")


def _size(task: Task) -> Size:
    return SIZE if task.modality == "image" else None


def _parts(task: Task, size: Size) -> list[tuple[str, Dataset]]:
    data = task.load(size)
    parts = {"train": data.train, "test": data.test, "validation": data.validation}
    return [(name, part) for name, part in parts.items() if part is not None]


TASK_CHECKS = (check_inputs, check_labels, check_sides, check_loading, check_classes, check_metadata)

"""The 10,000 test images of CIFAR-10 (Krizhevsky 2009) from BIG-bench, with a split of our own."""

import base64
import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedbbpt.assets.archive import member
from fedbbpt_benchmarks.images.example import ImageExample, decode

FILE = "bigbench-1.0.0/bigbench/benchmark_tasks/cifar10_classification/base64/task.json"


def cifar10() -> Iterator[ImageExample]:
    """The 10,000 images, in the order of their file."""
    unseen = set(cifar10_split()[1].tolist())
    for i, example in enumerate(json.loads(member("bigbench", FILE))["examples"]):
        label = max(example["target_scores"], key=example["target_scores"].__getitem__)
        yield ImageExample(f"cifar10/{i}", label, decode(base64.b64decode(example["input"])), official=i in unseen)


def cifar10_split() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices into `cifar10()`: 5,000 training and 5,000 test images."""
    order = np.random.default_rng(0).permutation(10_000)
    return order[:5000], order[5000:]

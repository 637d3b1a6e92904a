"""The provider's heads: linear classifiers on the student's features, fitted on training splits only."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from fedbbpt_backends import heads
from fedbbpt_backends.local_vit import Network
from fedbbpt_benchmarks import images
from fedbbpt_benchmarks.experiments.pretrain import score
from fedbbpt_benchmarks.images import ImageExample

MNIST_DIGITS = 20_000  # of the 60,000 for training


def training_pictures() -> dict[str, list[ImageExample]]:
    """What each head is fitted to, by the head's name."""
    cifar10, (seen, _) = list(images.cifar10()), images.cifar10_split()
    return {
        "mnist": list(images.mnist("train", MNIST_DIGITS)),
        "cifar10": [cifar10[i] for i in seen],
        "emoji": [picture for picture in images.emoji("twitter") if not picture.for_test],
    }


def fit(folder: Path) -> None:
    """Writes `heads/NAME.safetensors` beside a saved student: weight (C, D), bias (C,), the names of the classes."""
    (folder / "heads").mkdir(exist_ok=True)
    network = Network(f"dir:{folder}", None, "float32", "auto", 512)
    for name, examples in training_pictures().items():
        classes = tuple(sorted({picture.label for picture in examples}))
        labels = np.array([classes.index(picture.label) for picture in examples])
        features = network.features(score.stacked(examples, network.model.size))
        head = heads.fit_linear(features, labels, classes, c=0.01)
        # scikit-learn's weights lie column by column in memory, which safetensors would write down as if row by row
        tensors = {"weight": np.ascontiguousarray(head.weight), "bias": head.bias - head.weight @ head.centre}
        save_file(tensors, folder / "heads" / f"{name}.safetensors", {"classes": json.dumps(classes)})

"""How good features (n, D) are for labels (n,): accuracies of readings that leave the model as it is."""

from collections.abc import Sequence

import numpy as np

from fedbbpt.data.images import to_array
from fedbbpt.types import Float32, Int64
from fedbbpt_backends import heads
from fedbbpt_benchmarks.images import ImageExample

NEIGHBOURS = 10


def stacked(examples: Sequence[ImageExample], size: tuple[int, int]) -> Float32:
    """Pixels in [0, 1] (n, 3, h, w), as a task hands them to a backend of this input size."""
    return np.stack([to_array(picture.image, size) for picture in examples]).astype(np.float32) / np.float32(255)


def class_means(x: Float32, y: Int64, test_x: Float32, test_y: Int64) -> float:
    """Accuracy of the nearest class mean, by cosine of features less their mean over the training examples."""
    head = heads.fit_prototypes(x, y, tuple(str(c) for c in range(y.max() + 1)))
    return float((head(test_x).argmax(1) == test_y).mean())


def nearest_neighbours(x: Float32, y: Int64, test_x: Float32, test_y: Int64) -> float:
    """Accuracy of a vote of the ten nearest training examples, by the same cosine."""
    from sklearn.neighbors import KNeighborsClassifier

    centre = x.mean(0)
    model = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(x - centre, y)
    return float(model.score(test_x - centre, test_y))


def linear_probe(x: Float32, y: Int64, test_x: Float32, test_y: Int64) -> float:
    """Accuracy of a logistic regression on standardised features (C = .01)."""
    head = heads.fit_linear(x, y, tuple(str(c) for c in range(y.max() + 1)), c=0.01)
    return float((head(test_x).argmax(1) == test_y).mean())


def few_shots(x: Float32, y: Int64, test_x: Float32, test_y: Int64, shots: int = 16, draws: int = 10) -> float:
    """Mean accuracy of class means over random draws of `shots` training examples a class."""
    scores = []
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(y))
        chosen = np.concatenate([order[y[order] == c][:shots] for c in range(y.max() + 1)])
        scores.append(class_means(x[chosen], y[chosen], test_x, test_y))
    return float(np.mean(scores))

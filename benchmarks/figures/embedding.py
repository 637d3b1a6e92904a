"""What the classifier reads: of test images, under any parameters, as t-SNE and as a vote of neighbours."""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from fedbbpt.errors import MissingExtra
from fedbbpt.run.simulation import Simulation
from fedbbpt.split_learning.protocol import SplitModel, Splittable
from fedbbpt.types import Client, Dataset, Float32, Int64, Parameters

POINTS = 500  # most test images
FEWEST = 10  # with fewer, neighbours say nothing
NEIGHBOURS = 5
PERPLEXITY = 30.0  # scikit-learn's; a third of the points at most


class Embedding(NamedTuple):
    """Test images as one set of parameters sees them."""

    name: str
    points: Float32  # (n, 2)
    vote: float  # see `vote`


def check_installed() -> None:
    """Raises MissingExtra without scikit-learn."""
    try:
        import sklearn.manifold
        import sklearn.neighbors  # noqa: F401
    except ImportError as e:
        raise MissingExtra("fedbbpt figures", "local", e) from e


def sample_test_images(clients: Sequence[Client], seed: int) -> list[Dataset]:
    """At most `POINTS` test images of all clients together, drawn by the seed; of each client those in their order."""
    owners = np.repeat(np.arange(len(clients)), [len(client.test) for client in clients])
    rows = np.concatenate([np.arange(len(client.test)) for client in clients])
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:POINTS])
    return [client.test.take(rows[chosen][owners[chosen] == i]) for i, client in enumerate(clients)]


def partitioned(experiment: Simulation, **changes: int) -> SplitModel:
    """The run's model in parts, all of them here; with `changes` to the options of the algorithm."""
    names = ("head_blocks", "tail_blocks", "num_prompt_tokens", "deep_prompt", "dtype")
    options = {name: experiment.config.algorithm.options[name] for name in names} | changes
    num_classes = len(experiment.task.classes)
    return cast(Splittable, experiment.backend).partition_model(**options, num_classes=num_classes, role="all")


def features(split: SplitModel, parameters: Parameters, data: Sequence[Dataset], at_once: int) -> Float32:
    """What the classifier reads (n, D') of all the data; `parameters` are laid over those of the start."""
    everything: Parameters = {**split.init(0), **parameters}
    found = []
    for part in data:
        for start in range(0, len(part), at_once):
            smashed = split.head(everything, part.batch(slice(start, start + at_once)).inputs, frozenset()).values
            found.append(split.features(everything, split.body(everything, smashed, frozenset()).values))
    return np.concatenate(found)


def is_drawable(found: Float32) -> bool:
    """Whether features (n, D) are finite and differ; t-SNE ends the process where all are the same."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(found.var(0).sum())
    return math.isfinite(spread) and spread > 0


def perplexity(count: int) -> float:
    """What fits so many points."""
    return min(PERPLEXITY, (count - 1) / 3)


def tsne(found: Float32, seed: int) -> Float32:
    """Features (n, D) in the plane (n, 2) (van der Maaten & Hinton 2008), from the first two principal components."""
    from sklearn.manifold import TSNE

    drawing = TSNE(init="pca", perplexity=perplexity(len(found)), random_state=seed % 2**32)
    return cast(Float32, drawing.fit_transform(found))


def vote(found: Float32, labels: Int64) -> float:
    """Share of the points (n, D) whose class the nearest others vote for; of classes with as many votes, the first."""
    from sklearn.neighbors import NearestNeighbors

    others = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(found).kneighbors(return_distance=False)
    votes = [np.bincount(row).argmax() for row in labels[others]]
    return float(np.mean(votes == labels))

"""Deals a task's pool out to clients: few shots in all, labels skewed by client (Hsu et al. 2019, arXiv 1909.06335)."""

import math

import numpy as np

from fedbbpt.data import Pool
from fedbbpt.errors import ConfigError
from fedbbpt.types import Client, Dataset, Int64


def deal(pool: Pool, *, clients: int, alpha: float, shots: int, validation_shots: int, seed: int) -> list[Client]:
    """Clients with their own training, validation and test data.

    `shots` examples a class in all become training data and `validation_shots` validation data (fewer where a class has
    fewer: validation then gets its share); all of the test pool is used. For every class the clients' shares are drawn
    from Dirichlet(α), the same shares for all three splits; α = inf gives equal shares. A client left without training
    data gets one example of the richest.

    Raises:
        ConfigError: more clients than training examples.
    """
    rng = np.random.default_rng(seed)
    train, validation = _draw_shots(pool.train.labels, shots, validation_shots, rng)
    if clients > len(train):
        raise ConfigError(
            f"{clients} clients cannot share {len(train)} training examples; use fewer clients or more shots"
        )
    classes = 1 + int(max(pool.train.labels.max(), pool.test.labels.max()))
    concentration = np.full(clients, alpha)
    shares = [
        np.full(clients, 1 / clients) if math.isinf(alpha) else rng.dirichlet(concentration) for _ in range(classes)
    ]
    parts = []
    for data, rows in ((pool.train, train), (pool.train, validation), (pool.test, rng.permutation(len(pool.test)))):
        hands: list[list[Int64]] = [[] for _ in range(clients)]
        for label, share in enumerate(shares):
            of_class = rows[data.labels[rows] == label]
            for hand, piece in zip(hands, np.split(of_class, _cuts(share, len(of_class))), strict=True):
                hand.append(piece)
        parts.append([np.concatenate(hand) for hand in hands])
    _feed_the_hungry(parts[0])
    return [
        Client(f"client-{i:03d}", pool.train.take(t), pool.train.take(v), pool.test.take(s))
        for i, (t, v, s) in enumerate(zip(*parts, strict=True))
    ]


def label_counts(data: Dataset, classes: int) -> list[int]:
    """How many examples of each class."""
    counts: list[int] = np.bincount(data.labels, minlength=classes).tolist()
    return counts


def _draw_shots(labels: Int64, shots: int, validation_shots: int, rng: np.random.Generator) -> tuple[Int64, Int64]:
    train, validation = [], []
    for label in range(int(labels.max()) + 1):
        rows = rng.permutation(np.flatnonzero(labels == label))
        kept_back = min(validation_shots, max(1, len(rows) * validation_shots // (shots + validation_shots)))
        validation.append(rows[:kept_back])
        train.append(rows[kept_back : kept_back + shots])
    return np.concatenate(train), np.concatenate(validation)


def _cuts(share: np.ndarray, count: int) -> Int64:
    """Where to cut `count` examples so that the pieces have the given shares, to within one example."""
    return np.round(np.cumsum(share)[:-1] * count).astype(np.int64)


def _feed_the_hungry(hands: list[Int64]) -> None:
    for i, hand in enumerate(hands):
        if len(hand) == 0:
            richest = max(range(len(hands)), key=lambda j: len(hands[j]))
            hands[i], hands[richest] = hands[richest][-1:], hands[richest][:-1]

"""Deals a task's pool out to clients: few shots in all, skewed by client."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedbbpt.data import Pool
from fedbbpt.errors import ConfigError
from fedbbpt.types import Client, Dataset, Floats, Int64

REDRAWS = 100
USUAL, FEEDS, LEAST = 10, 8, 4  # clients; of own data: training examples for each in the mean, and at least


@dataclass(frozen=True)
class Skew:
    """How the clients differ.

    - "dirichlet": a client's share of a class is drawn from Dirichlet(α) (Hsu et al. 2019); α = inf makes all alike.
    - "shards": sorted by class and cut into clients × `shards` equal pieces, of which everybody draws `shards`, so that
      most hold that many classes (McMahan et al. 2017).
    - "domain": everybody holds the examples of one domain of the task, as equal a part as its other holders.

    `empty` says what becomes of a client without training data: "feed" gives it one example of the richest, "redraw"
    draws all shares again, "error" refuses. The shares of somebody's own data are drawn again in any case while they
    leave a client with less than 4 examples, up to 100 times.
    """

    kind: Literal["dirichlet", "shards", "domain"] = "dirichlet"
    alpha: float = math.inf
    shards: int = 2
    empty: Literal["feed", "redraw", "error"] = "feed"


def deal(
    pool: Pool,
    *,
    skew: Skew,
    shots: int,
    validation_shots: int,
    seed: int,
    clients: int | None = None,
    test_limit: int | None = None,
) -> list[Client]:
    """Clients with their own training, validation and test data.

    `shots` examples a class in all become training data and `validation_shots` validation data (fewer where a class has
    fewer: validation then gets its share); of the test pool at most `test_limit` examples. What shares a group with a
    validation example is not trained on, unless nothing else is left of its class. A client's shares are the same in
    all three splits.

    Without a number of clients there are 10, of somebody's own data fewer where these cannot feed as many: 8 training
    examples each in the mean and, if some draw of the shares allows it, at least 4.

    Raises:
        ConfigError: more clients than training examples, a task without domains or with more of them than clients, or
            an empty client where the skew refuses it.
    """
    most = fewest = clients or USUAL
    if clients is None and pool.own:
        examples = len(_draw_shots(pool, shots, validation_shots, np.random.default_rng(seed))[0])
        fewest = _dealt_by(pool, skew)[0] if skew.kind == "domain" else 1
        most = max(fewest, min(USUAL, examples // FEEDS))
    for number in range(most, fewest - 1, -1):
        hands, *others = _dealt(pool, number, skew, (shots, validation_shots, test_limit), np.random.default_rng(seed))
        if min(map(len, hands)) >= LEAST:
            break
    if skew.empty != "feed" and not all(map(len, hands)):
        raise ConfigError(
            f"this deal leaves a client without training data (data.empty={skew.empty}); use fewer clients, more "
            "shots, a larger data.alpha, or data.empty=feed"
        )
    _feed_the_hungry(hands)
    validating = pool.train if pool.validation is None else pool.validation
    return [
        Client(f"client-{i:03d}", pool.train.take(t), validating.take(v), pool.test.take(s))
        for i, (t, v, s) in enumerate(zip(hands, *others, strict=True))
    ]


def _dealt(
    pool: Pool, clients: int, skew: Skew, amounts: tuple[int, int, int | None], rng: np.random.Generator
) -> tuple[list[Int64], list[Int64], list[Int64]]:
    """The rows of training, validation and test data by client."""
    shots, validation_shots, test_limit = amounts
    train, validation = _draw_shots(pool, shots, validation_shots, rng)
    if clients > len(train):
        raise ConfigError(
            f"{clients} clients cannot share {len(train)} training examples; use fewer clients or more shots"
        )
    groups, group_of = _dealt_by(pool, skew)
    for _ in range(REDRAWS if skew.empty == "redraw" or pool.own else 1):
        shares = _shares(skew, groups, clients, rng)
        hands = _hands(train, group_of(pool.train), shares)
        if min(map(len, hands)) >= (LEAST if pool.own else 1):
            break
    validating = pool.train if pool.validation is None else pool.validation
    tested = rng.permutation(len(pool.test))[:test_limit]
    return hands, _hands(validation, group_of(validating), shares), _hands(tested, group_of(pool.test), shares)


def label_counts(data: Dataset, classes: int) -> list[int]:
    """How many examples of each class."""
    counts: list[int] = np.bincount(data.labels, minlength=classes).tolist()
    return counts


def _draw_shots(pool: Pool, shots: int, validation_shots: int, rng: np.random.Generator) -> tuple[Int64, Int64]:
    """Rows of the training pool for training, and of the same or of the given validation data for validation."""
    data = pool.train
    if pool.validation is not None:
        return _few(data, shots, rng), _few(pool.validation, validation_shots, rng)
    rank = None if data.groups is None else rng.permutation(1 + int(data.groups.max()))[data.groups]
    train, validation = [], []
    for label in range(int(data.labels.max()) + 1):
        rows = rng.permutation(np.flatnonzero(data.labels == label))
        if rank is not None:  # the same groups come first in every class
            rows = rows[np.argsort(rank[rows], kind="stable")]
        kept_back = min(validation_shots, max(1, len(rows) * validation_shots // (shots + validation_shots)))
        validation.append(rows[:kept_back])
        train.append(rows[kept_back:])
    if data.groups is not None:
        known = data.groups[np.concatenate(validation)]
        apart = [rows[~np.isin(data.groups[rows], known)] for rows in train]
        train = [rng.permutation(new if len(new) else rows) for new, rows in zip(apart, train, strict=True)]
    return np.concatenate([rows[:shots] for rows in train]), np.concatenate(validation)


def _few(data: Dataset, count: int, rng: np.random.Generator) -> Int64:
    """At most so many rows of each class."""
    labels = range(int(data.labels.max()) + 1)
    return np.concatenate([rng.permutation(np.flatnonzero(data.labels == label))[:count] for label in labels])


def _dealt_by(pool: Pool, skew: Skew) -> tuple[int, Callable[[Dataset], Int64]]:
    """How many groups are shared out, and which one an example belongs to: its class or its domain."""
    if skew.kind != "domain":
        return 1 + int(max(pool.train.labels.max(), pool.test.labels.max())), lambda data: data.labels
    if pool.train.domains is None or pool.test.domains is None:
        raise ConfigError("this task has no domains; use data.partition=dirichlet or shards")
    return 1 + int(max(pool.train.domains.max(), pool.test.domains.max())), _domains


def _domains(data: Dataset) -> Int64:
    assert data.domains is not None  # `_dealt_by` has seen to it
    return data.domains


def _shares(skew: Skew, groups: int, clients: int, rng: np.random.Generator) -> list[Floats]:
    """For every group the clients' shares (clients,), which sum to 1."""
    if skew.kind == "dirichlet":
        equal = np.full(clients, 1 / clients)
        concentration = np.full(clients, skew.alpha)
        return [equal if math.isinf(skew.alpha) else rng.dirichlet(concentration) for _ in range(groups)]
    if skew.kind == "domain":
        if clients < groups:
            raise ConfigError(f"the task has {groups} domains, too many for {clients} clients; use more clients")
        holds = [np.arange(clients) % groups == group for group in range(groups)]
        return [held / held.sum() for held in holds]
    pieces = clients * skew.shards
    bounds = np.arange(pieces + 1) / pieces * groups  # piece i covers bounds[i] to bounds[i + 1] of the sorted classes
    owner = rng.permutation(pieces) % clients
    covered = [np.diff(np.clip(bounds, group, group + 1)) for group in range(groups)]
    return [np.bincount(owner, weights, minlength=clients).astype(np.float64) for weights in covered]


def _hands(rows: Int64, group: Int64, shares: list[Floats]) -> list[Int64]:
    """The rows, group by group, dealt out by these shares."""
    hands: list[list[Int64]] = [[] for _ in shares[0]]
    for i, share in enumerate(shares):
        of_group = rows[group[rows] == i]
        for hand, piece in zip(hands, np.split(of_group, _cuts(share, len(of_group))), strict=True):
            hand.append(piece)
    return [np.concatenate(hand) for hand in hands]


def _cuts(share: np.ndarray, count: int) -> Int64:
    """Where to cut `count` examples so that the pieces have the given shares, to within one example."""
    return np.round(np.cumsum(share)[:-1] * count).astype(np.int64)


def _feed_the_hungry(hands: list[Int64]) -> None:
    for i, hand in enumerate(hands):
        if len(hand) == 0:
            richest = max(range(len(hands)), key=lambda j: len(hands[j]))
            hands[i], hands[richest] = hands[richest][-1:], hands[richest][:-1]

"""Partitions a task's data over clients: few shots per class in all, skewed by client."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedbbpt.data import TaskData
from fedbbpt.errors import ConfigError
from fedbbpt.types import Client, Dataset, Floats, Int64

MAX_REDRAWS = 100
DEFAULT_CLIENTS = 10
MEAN_EXAMPLES, MIN_EXAMPLES = 8, 4  # training examples per client of a user's own data, if their number is not given


@dataclass(frozen=True)
class PartitionScheme:
    """How the clients differ.

    - "dirichlet": a client's share of each class is drawn from Dirichlet(`dirichlet_alpha`) (Hsu et al. 2019, arXiv
      1909.06335); infinity makes all clients alike.
    - "shards": the examples are sorted by class and cut into clients × `shards_per_client` equal pieces, of which each
      client draws `shards_per_client`, so that most hold that many classes (McMahan et al. 2017, arXiv 1602.05629).
    - "domain": each client holds examples of one domain only, in equal parts with the domain's other clients.

    `empty_clients` says what happens to clients without training data: "fill" moves one example to each from the client
    that holds the most, "redraw" draws all shares again, "error" raises. The shares of a user's own data are drawn
    again in any case while a client has fewer than 4 training examples. Either way, there are at most 100 draws.
    """

    kind: Literal["dirichlet", "shards", "domain"] = "dirichlet"
    dirichlet_alpha: float = math.inf
    shards_per_client: int = 2
    empty_clients: Literal["fill", "redraw", "error"] = "fill"


def partition_clients(
    data: TaskData,
    *,
    scheme: PartitionScheme,
    shots_per_class: int,
    validation_shots_per_class: int,
    seed: int,
    clients: int | None = None,
    test_limit: int | None = None,
) -> list[Client]:
    """Gives each client training, validation and test data of its own; no example goes to two clients.

    Of each class, `shots_per_class` examples over the whole federation become training data and
    `validation_shots_per_class` validation data. A class with fewer examples is divided in the same proportion. Of the
    test data, at most `test_limit` examples are drawn. Training examples that share a group with a validation example
    are left out, unless nothing else remains of their class. A client's share of a class is the same in training,
    validation and test data.

    By default there are 10 clients. For a user's own data there are fewer if necessary: as many as get 8 training
    examples on average and, if one of the draws allows it, at least 4 each.

    >>> import numpy as np
    >>> from fedbbpt.types import Dataset
    >>> examples = Dataset(np.zeros((60, 3, 8, 8), np.uint8), np.arange(60) % 2)
    >>> scheme = PartitionScheme("dirichlet", dirichlet_alpha=0.3)
    >>> counts = dict(shots_per_class=16, validation_shots_per_class=4)
    >>> clients = partition_clients(TaskData(examples, examples), scheme=scheme, seed=1, clients=3, **counts)
    >>> [client.id for client in clients], sum(len(client.train) for client in clients)
    (['client-000', 'client-001', 'client-002'], 32)

    Raises:
        ConfigError: more clients than training examples, domains wanted of a task that has none or more of them than
            there are clients, or a client without training data where the scheme does not fill it.
    """
    shots = shots_per_class, validation_shots_per_class
    most = fewest = clients or DEFAULT_CLIENTS
    if clients is None and data.user_supplied:
        examples = len(_draw_shots(data, *shots, np.random.default_rng(seed))[0])
        fewest = _grouping(data, scheme)[0] if scheme.kind == "domain" else 1
        most = max(fewest, min(DEFAULT_CLIENTS, examples // MEAN_EXAMPLES))
    for number in range(most, fewest - 1, -1):
        train, *others = _assign(data, number, scheme, shots, test_limit, np.random.default_rng(seed))
        if min(map(len, train)) >= MIN_EXAMPLES:
            break
    if scheme.empty_clients != "fill" and not all(map(len, train)):
        raise ConfigError(
            f"this partition leaves a client without training data (data.empty_clients={scheme.empty_clients}); use "
            "fewer clients, more data.shots_per_class, a larger data.dirichlet_alpha, or data.empty_clients=fill"
        )
    _fill_empty_clients(train)
    return [
        Client(f"client-{i:03d}", data.train.take(t), data.validation_pool.take(v), data.test.take(s))
        for i, (t, v, s) in enumerate(zip(train, *others, strict=True))
    ]


def _assign(
    data: TaskData,
    clients: int,
    scheme: PartitionScheme,
    shots: tuple[int, int],
    test_limit: int | None,
    rng: np.random.Generator,
) -> tuple[list[Int64], list[Int64], list[Int64]]:
    """Each client's rows of the training, validation and test data."""
    train, validation = _draw_shots(data, *shots, rng)
    if clients > len(train):
        raise ConfigError(
            f"{clients} clients cannot share {len(train)} training examples; use fewer clients or more "
            "data.shots_per_class"
        )
    groups, group_of = _grouping(data, scheme)
    for _ in range(MAX_REDRAWS if scheme.empty_clients == "redraw" or data.user_supplied else 1):
        shares = _shares(scheme, groups, clients, rng)
        assigned = _assignments(train, group_of(data.train), shares)
        if min(map(len, assigned)) >= (MIN_EXAMPLES if data.user_supplied else 1):
            break
    test = rng.permutation(len(data.test))[:test_limit]
    return (
        assigned,
        _assignments(validation, group_of(data.validation_pool), shares),
        _assignments(test, group_of(data.test), shares),
    )


def label_counts(data: Dataset, classes: int) -> list[int]:
    """The number of examples of each class."""
    counts: list[int] = np.bincount(data.labels, minlength=classes).tolist()
    return counts


def _draw_shots(data: TaskData, shots: int, validation_shots: int, rng: np.random.Generator) -> tuple[Int64, Int64]:
    """Rows of `data.train` to train on, and rows of `data.validation_pool` to validate on."""
    examples = data.train
    if data.validation is not None:
        return _draw_per_class(examples, shots, rng), _draw_per_class(data.validation, validation_shots, rng)
    rank = None if examples.groups is None else rng.permutation(1 + int(examples.groups.max()))[examples.groups]
    train, validation = [], []
    for label in range(int(examples.labels.max()) + 1):
        rows = rng.permutation(np.flatnonzero(examples.labels == label))
        if rank is not None:  # the same groups come first in every class
            rows = rows[np.argsort(rank[rows], kind="stable")]
        held_out = min(validation_shots, max(1, len(rows) * validation_shots // (shots + validation_shots)))
        validation.append(rows[:held_out])
        train.append(rows[held_out:])
    if examples.groups is not None:
        known = examples.groups[np.concatenate(validation)]
        unseen = [rows[~np.isin(examples.groups[rows], known)] for rows in train]
        train = [rng.permutation(new if len(new) else rows) for new, rows in zip(unseen, train, strict=True)]
    return np.concatenate([rows[:shots] for rows in train]), np.concatenate(validation)


def _draw_per_class(data: Dataset, count: int, rng: np.random.Generator) -> Int64:
    """At most `count` rows of each class."""
    labels = range(int(data.labels.max()) + 1)
    return np.concatenate([rng.permutation(np.flatnonzero(data.labels == label))[:count] for label in labels])


def _grouping(data: TaskData, scheme: PartitionScheme) -> tuple[int, Callable[[Dataset], Int64]]:
    """The number of groups that are shared out, and each example's group (N,): its class or its domain."""
    if scheme.kind != "domain":
        return 1 + int(max(data.train.labels.max(), data.test.labels.max())), lambda examples: examples.labels
    if data.train.domains is None or data.test.domains is None:
        raise ConfigError("this task has no domains; use data.partition=dirichlet or shards")
    return 1 + int(max(data.train.domains.max(), data.test.domains.max())), _domains


def _domains(data: Dataset) -> Int64:
    assert data.domains is not None  # checked by `_grouping`
    return data.domains


def _shares(scheme: PartitionScheme, groups: int, clients: int, rng: np.random.Generator) -> list[Floats]:
    """For each group the clients' shares (clients,), which sum to 1."""
    if scheme.kind == "dirichlet":
        equal = np.full(clients, 1 / clients)
        concentration = np.full(clients, scheme.dirichlet_alpha)
        return [equal if math.isinf(scheme.dirichlet_alpha) else rng.dirichlet(concentration) for _ in range(groups)]
    if scheme.kind == "domain":
        if clients < groups:
            raise ConfigError(f"the task has {groups} domains, too many for {clients} clients; use more clients")
        holds = [np.arange(clients) % groups == group for group in range(groups)]
        return [held / held.sum() for held in holds]
    pieces = clients * scheme.shards_per_client
    bounds = np.arange(pieces + 1) / pieces * groups  # piece i covers bounds[i] to bounds[i + 1] of the sorted classes
    owner = rng.permutation(pieces) % clients
    covered = [np.diff(np.clip(bounds, group, group + 1)) for group in range(groups)]
    return [np.bincount(owner, weights, minlength=clients).astype(np.float64) for weights in covered]


def _assignments(rows: Int64, group: Int64, shares: list[Floats]) -> list[Int64]:
    """Each client's part of the rows, divided by these shares group by group."""
    parts: list[list[Int64]] = [[] for _ in shares[0]]
    for i, share in enumerate(shares):
        of_group = rows[group[rows] == i]
        for part, piece in zip(parts, np.split(of_group, _bounds(share, len(of_group))), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def _bounds(share: np.ndarray, count: int) -> Int64:
    """Where to cut `count` examples so that the pieces have the given shares, to within one example."""
    return np.round(np.cumsum(share)[:-1] * count).astype(np.int64)


def _fill_empty_clients(rows: list[Int64]) -> None:
    """Moves to each client without rows one of the client that holds the most."""
    for i, held in enumerate(rows):
        if len(held) == 0:
            richest = max(range(len(rows)), key=lambda j: len(rows[j]))
            rows[i], rows[richest] = rows[richest][-1:], rows[richest][:-1]

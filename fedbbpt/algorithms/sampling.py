"""Samples clients and minibatches, from random streams that client and server share."""

from collections.abc import Iterator, Sequence

import numpy as np

from fedbbpt.algorithms import ClientSizes
from fedbbpt.types import Batch, Dataset, Int64, Message


def sample_clients(clients: Sequence[ClientSizes], count: int, seed: int, round_: int) -> list[ClientSizes]:
    """Draws clients uniformly without replacement, in their order; the draw depends only on the seed and the round."""
    rng = np.random.default_rng([seed, round_])
    return [clients[i] for i in sorted(rng.choice(len(clients), count, replace=False))]


def number_of_clients(participation: float, clients_per_round: int | None, clients: int) -> int:
    """The number of clients per round: a share of them, at least one; or a given number, at most all."""
    return min(clients_per_round, clients) if clients_per_round else max(1, round(participation * clients))


def minibatch(data: Dataset, size: int, rng: np.random.Generator) -> Batch:
    """Draws examples without replacement; takes all data, in order, if there are at most `size`."""
    if len(data) <= size:
        return data.batch(slice(None))
    return data.batch(rng.choice(len(data), size, replace=False))


def shuffled_batches(data: Dataset, rows: Int64, size: int, epochs: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Yields batches of at most `size` examples, shuffled anew in every epoch."""
    for _ in range(epochs):
        order = rng.permutation(rows)
        for start in range(0, len(order), size):
            yield data.batch(order[start : start + size])


def rng_of(message: Message, client: str, purpose: str) -> np.random.Generator:
    """A random generator that client and server seed alike."""
    return np.random.default_rng([message.seed, message.round, *client.encode(), 0, *purpose.encode()])


def rounded(value: float) -> float:
    """Rounds to seven significant digits, which shortens messages."""
    return float(f"{value:.7g}")

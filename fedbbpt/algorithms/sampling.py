"""Which clients and which examples a round is about, and the random streams that both ends can draw."""

from collections.abc import Iterator, Sequence

import numpy as np

from fedbbpt.algorithms import ClientSizes
from fedbbpt.types import Batch, Dataset, Int64, Message


def sample_clients(clients: Sequence[ClientSizes], count: int, seed: int, round_: int) -> list[ClientSizes]:
    """A uniform draw without replacement, in the clients' order; it depends on the seed and the round only."""
    rng = np.random.default_rng([seed, round_])
    return [clients[i] for i in sorted(rng.choice(len(clients), count, replace=False))]


def number_of_clients(participation: float, clients_per_round: int | None, clients: int) -> int:
    """How many of the clients take part in a round: a share of them, at least one, or a given number, at most all."""
    return min(clients_per_round, clients) if clients_per_round else max(1, round(participation * clients))


def minibatch(data: Dataset, size: int, rng: np.random.Generator) -> Batch:
    """Examples drawn without replacement; all of the data, in order, where there are no more than `size`."""
    if len(data) <= size:
        return data.batch(slice(None))
    return data.batch(rng.choice(len(data), size, replace=False))


def shuffled_batches(data: Dataset, rows: Int64, size: int, epochs: int, rng: np.random.Generator) -> Iterator[Batch]:
    """The rows in a new order every epoch, at most `size` at a time."""
    for _ in range(epochs):
        order = rng.permutation(rows)
        for start in range(0, len(order), size):
            yield data.batch(order[start : start + size])


def rng_of(message: Message, client: str, purpose: str) -> np.random.Generator:
    """A stream of random numbers that client and server can both start."""
    return np.random.default_rng([message.seed, message.round, *client.encode(), 0, *purpose.encode()])


def rounded(value: float) -> float:
    """To seven significant digits: more are not worth sending."""
    return float(f"{value:.7g}")

"""What local steps are made of: minibatches, random numbers that both ends can draw, and the changes in the end."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fedbbpt.optim import Optimizer
from fedbbpt.types import Batch, Client, Dataset, Float32, Int64, Message

TUNED = ("prompt", "optimizer")  # the parts that local steps change


def sampled(clients: Sequence[Client], fraction: float, seed: int, round_: int) -> list[Client]:
    """A share of the clients, at least one: a uniform draw without replacement, by seed and round only."""
    rng = np.random.default_rng([seed, round_])
    count = max(1, round(fraction * len(clients)))
    return [clients[i] for i in sorted(rng.choice(len(clients), count, replace=False))]


def draw(data: Dataset, size: int, rng: np.random.Generator) -> Batch:
    """A minibatch without replacement; all of the data, in order, where there are no more than `size`."""
    if len(data) <= size:
        return data.batch(slice(None))
    return data.batch(rng.choice(len(data), size, replace=False))


def shuffled(data: Dataset, rows: Int64, size: int, epochs: int, rng: np.random.Generator) -> Iterator[Batch]:
    """The rows in a new order every epoch, at most `size` at a time."""
    for _ in range(epochs):
        order = rng.permutation(rows)
        for start in range(0, len(order), size):
            yield data.batch(order[start : start + size])


def rng_of(message: Message, client: str, purpose: str) -> np.random.Generator:
    """A stream of random numbers that client and server can both start."""
    return np.random.default_rng([message.seed, message.round, *client.encode(), 0, *purpose.encode()])


def changes(message: Message, scale: float, optimizer: Optimizer) -> Mapping[str, Float32]:
    """New minus received parameters."""
    new = {"prompt": scale * optimizer.x, "optimizer": optimizer.state}
    return {part: (new[part] - message.parameters[part]).astype(np.float32) for part in TUNED}


def short(value: float) -> float:
    """To the digits that are worth sending."""
    return float(f"{value:.7g}")

"""How a task's data are dealt out, and what a person is told of it before anything is asked."""

from typing import NamedTuple

from fedbbpt.config import Config
from fedbbpt.data import Pool, Task
from fedbbpt.data.partition import LEAST, USUAL, Skew, deal
from fedbbpt.types import Client


class Dealt(NamedTuple):
    """The clients, and the split in words: (name, text)."""

    clients: list[Client]
    said: list[tuple[str, str]]


def dealt(config: Config, task: Task, pool: Pool) -> Dealt:
    """The task's data in the hands of the clients that the config wants, or as many as its data can feed.

    Raises:
        ConfigError: see `deal`.
    """
    settings = config.data
    clients = deal(
        pool,
        clients=settings.clients,
        skew=Skew(
            settings.partition,
            task.alpha if settings.alpha is None else settings.alpha,
            settings.shards,
            settings.empty,
        ),
        shots=settings.shots,
        validation_shots=settings.validation_shots,
        test_limit=settings.test_limit,
        seed=config.seed,
    )
    return Dealt(clients, [("data", _split(config, pool, clients)), ("clients", _hands(config, pool, clients))])


def _split(config: Config, pool: Pool, clients: list[Client]) -> str:
    train, validation, test = (
        sum(len(getattr(client, side)) for client in clients) for side in ("train", "validation", "test")
    )
    unused = f", {left:,} unused" if (left := _unused(pool, clients)) else ""
    provider = f"{pool.provider:,} for the provider, " if pool.provider else ""
    of = f" of {len(pool.test):,}" if test < len(pool.test) else ""
    shots = f"at most {config.data.shots:,} per class{unused}"
    return f"{provider}{train:,} for training ({shots}), {validation:,} for validation, {test:,}{of} for the test"


def _unused(pool: Pool, clients: list[Client]) -> int:
    return len(pool.train) - sum(
        len(client.train) + (len(client.validation) if pool.validation is None else 0) for client in clients
    )


def _hands(config: Config, pool: Pool, clients: list[Client]) -> str:
    sizes = [len(client.train) for client in clients]
    fewest, most = min(sizes), max(sizes)
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    said = f"{len(clients):,}, with {each} training example{'s' * (most > 1)}{' each' if len(clients) > 1 else ''}"
    if config.data.clients is None and pool.own and len(clients) < USUAL and fewest >= LEAST:
        return f"{said}: fewer than {USUAL}, so that each has enough (--clients and --shots change that)"
    if pool.own and (hungry := sum(size < LEAST for size in sizes)):
        ways = ["fewer --clients"] * (len(clients) > 1) + ["more --shots"] * (_unused(pool, clients) > 0)
        return f"{said}; {hungry:,} with fewer than {LEAST}: {' or '.join(ways) or 'more data'} would feed them"
    return said

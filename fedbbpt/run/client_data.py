"""Divides a task's data among clients, and describes the result for people."""

from typing import NamedTuple, get_args

from fedbbpt.config import Config
from fedbbpt.data import Task, TaskData
from fedbbpt.data.partition import DEFAULT_CLIENTS, MIN_EXAMPLES, PartitionScheme, partition_clients
from fedbbpt.types import Client, Subset


class ClientData(NamedTuple):
    """The clients, and a description of the split for people, as pairs (name, text)."""

    clients: list[Client]
    description: list[tuple[str, str]]


def make_client_data(config: Config, task: Task, pool: TaskData) -> ClientData:
    """Divides the data among the clients that the config asks for, or among as many as the data can supply.

    Raises:
        ConfigError: see `partition_clients`.
    """
    settings = config.data
    clients = partition_clients(
        pool,
        clients=settings.clients,
        scheme=PartitionScheme(
            settings.partition,
            task.dirichlet_alpha if settings.dirichlet_alpha is None else settings.dirichlet_alpha,
            settings.shards_per_client,
            settings.empty_clients,
        ),
        shots_per_class=settings.shots_per_class,
        validation_shots_per_class=settings.validation_shots_per_class,
        test_limit=settings.test_limit,
        seed=config.seed,
    )
    return ClientData(
        clients,
        [("data", _describe_split(config, pool, clients)), ("clients", _describe_clients(config, pool, clients))],
    )


def _describe_split(config: Config, pool: TaskData, clients: list[Client]) -> str:
    train, validation, test = (sum(len(client.subset(subset)) for client in clients) for subset in get_args(Subset))
    unused = f", {left:,} unused" if (left := _unused(pool, clients)) else ""
    provider = f"{pool.provider_examples:,} for the provider, " if pool.provider_examples else ""
    of = f" of {len(pool.test):,}" if test < len(pool.test) else ""
    shots = f"at most {config.data.shots_per_class:,} per class{unused}"
    return f"{provider}{train:,} for training ({shots}), {validation:,} for validation, {test:,}{of} for the test"


def _unused(pool: TaskData, clients: list[Client]) -> int:
    return len(pool.train) - sum(
        len(client.train) + (len(client.validation) if pool.validation is None else 0) for client in clients
    )


def _describe_clients(config: Config, pool: TaskData, clients: list[Client]) -> str:
    sizes = [len(client.train) for client in clients]
    fewest, most = min(sizes), max(sizes)
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    said = f"{len(clients):,}, with {each} training example{'s' * (most > 1)}{' each' if len(clients) > 1 else ''}"
    if config.data.clients is None and pool.user_supplied and len(clients) < DEFAULT_CLIENTS and fewest >= MIN_EXAMPLES:
        why = f"fewer than {DEFAULT_CLIENTS}, so that each has enough"
        return f"{said}: {why} (--clients and --shots-per-class change that)"
    if pool.user_supplied and (hungry := sum(size < MIN_EXAMPLES for size in sizes)):
        ways = ["fewer --clients"] * (len(clients) > 1) + ["more --shots-per-class"] * (_unused(pool, clients) > 0)
        return f"{said}; {hungry:,} with fewer than {MIN_EXAMPLES}: {' or '.join(ways) or 'more data'} would feed them"
    return said

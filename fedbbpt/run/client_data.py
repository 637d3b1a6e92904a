"""Gives each client its data, and describes the result for people."""

from dataclasses import replace
from typing import NamedTuple, get_args

from fedbbpt.config import Config
from fedbbpt.config.schema import Data
from fedbbpt.data import Task, TaskData
from fedbbpt.data.partition import DEFAULT_CLIENTS, MIN_EXAMPLES, PartitionScheme, partition_clients
from fedbbpt.errors import ConfigError
from fedbbpt.types import Client, Subset

DIVIDING = ("partition", "dirichlet_alpha", "shards_per_client", "empty_clients")  # settings of a partition
MAX_DESCRIBED = 8  # sites described one by one


class ClientData(NamedTuple):
    """The clients, and a description of the split for people, as pairs (name, text)."""

    clients: list[Client]
    description: list[tuple[str, str]]


def make_client_data(config: Config, task: Task, pool: TaskData) -> ClientData:
    """Divides the data among the clients that the config asks for, or among as many as the data can supply.

    Of a task whose clients have data of their own (`TaskData.sites`), each client is a site.

    Raises:
        ConfigError: see `partition_clients`; or the settings divide what is not to be divided.
    """
    if pool.sites:
        _check_not_divided(config.data, task, pool)
        clients = [site_client(config, site, data) for site, data in pool.sites.items()]
        about = _describe_sites(clients)
    else:
        clients = _partitioned(config, task, pool)
        about = _describe_clients(config, pool, clients)
    return ClientData(clients, [("data", _describe_split(config, pool, clients)), ("clients", about)])


def site_client(config: Config, site: str, data: TaskData) -> Client:
    """The client that a site becomes in a run: its own data (`fedbbpt.data.sites.site_data`), split as in any run.

    A simulation and a real federation both call this, each with the same bits. The numbers of shots, and
    `data.test_limit`, count for this site alone.
    """
    (client,) = partition_clients(
        data,
        clients=1,
        scheme=PartitionScheme(),
        shots_per_class=config.data.shots_per_class,
        validation_shots_per_class=config.data.validation_shots_per_class,
        test_limit=config.data.test_limit,
        seed=config.seed,
    )
    return replace(client, id=site)


def describe_client(client: Client) -> str:
    """The numbers of a client's examples."""
    train, validation, test = (f"{len(client.subset(subset)):,}" for subset in get_args(Subset))
    return f"{train} for training, {validation} for validation, {test} for the test"


def _partitioned(config: Config, task: Task, pool: TaskData) -> list[Client]:
    settings = config.data
    return partition_clients(
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


def _check_not_divided(settings: Data, task: Task, pool: TaskData) -> None:
    """Raises ConfigError for a setting that would divide the sites' data among clients."""
    if settings.clients not in (None, len(pool.sites)):
        raise ConfigError(
            f"{task.source} holds the data of {len(pool.sites):,} sites, each of which is one client; leave out "
            f"--clients {settings.clients}"
        )
    if set_ones := [name for name in DIVIDING if getattr(settings, name) != Data.model_fields[name].default]:
        raise ConfigError(
            f"{task.source} holds each site's own data, and nothing is divided among clients; leave out "
            f"data.{set_ones[0]}"
        )


def _describe_split(config: Config, pool: TaskData, clients: list[Client]) -> str:
    train, validation, test = (sum(len(client.subset(subset)) for client in clients) for subset in get_args(Subset))
    unused = f", {left:,} unused" if (left := _unused(pool, clients)) else ""
    provider = f"{pool.provider_examples:,} for the provider, " if pool.provider_examples else ""
    of = f" of {len(pool.test):,}" if test < len(pool.test) else ""
    shots = f"at most {config.data.shots_per_class:,} per class{' and site' if pool.sites else ''}{unused}"
    return f"{provider}{train:,} for training ({shots}), {validation:,} for validation, {test:,}{of} for the test"


def _unused(pool: TaskData, clients: list[Client]) -> int:
    if pool.sites:
        return sum(_unused(data, [client]) for data, client in zip(pool.sites.values(), clients, strict=True))
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


def _describe_sites(clients: list[Client]) -> str:
    described = [f"{client.id}: {describe_client(client)}" for client in clients[:MAX_DESCRIBED]]
    more = [f"and {len(clients) - MAX_DESCRIBED:,} more"] if len(clients) > MAX_DESCRIBED else []
    return f"{len(clients):,}, each with the data of a site ({'; '.join([*described, *more])})"

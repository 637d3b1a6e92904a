"""What registered clients cost who do not take part: `python -m fedbbpt_benchmarks.experiments.population`.

Rounds of `fedavg` with 50 clients out of 1,000, 10,000 and 100,000, whose data exist only while they are looked at. The
model is a small random projection, so that what is measured is the toolkit's own work.
"""

import statistics
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import click
import numpy as np

from fedbbpt.algorithms import AlgorithmContext, ClientMemory, ClientSizes
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.backend import Backend, BackendInfo, BackendOutput
from fedbbpt.commands.errors import Program
from fedbbpt.engines import TUNED, ClientHost, HostFactory
from fedbbpt.engines.serial import Serial
from fedbbpt.objective import PromptedModel
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.affine import Affine
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.types import Client, Dataset, Float32

SIDE, CLASSES, IMAGES, SAMPLED, ROUNDS = 32, 10, 16, 50, 5


class Registered(Sequence[ClientSizes]):
    """What the server knows of clients with 16 images each."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> ClientSizes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ClientSizes]: ...
    def __getitem__(self, index: Any) -> Any:
        return ClientSizes(str(index), IMAGES, IMAGES, IMAGES)


class Clients(Mapping[str, Client]):
    """Clients of 16 random images each, made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return map(str, range(self._count))

    def __getitem__(self, name: str) -> Client:
        rng = np.random.default_rng(int(name))
        data = Dataset(rng.integers(0, 256, (IMAGES, 3, SIDE, SIDE), np.uint8), rng.integers(0, CLASSES, IMAGES))
        return Client(name, data, data, data)


class Hosts(HostFactory):
    """One host, in this process."""

    def __init__(self, host: ClientHost) -> None:
        self._host = host

    def here(self) -> ClientHost:
        """See `HostFactory`."""
        return self._host

    @property
    def opener(self) -> Callable[[], ClientHost]:
        """See `HostFactory`."""
        return self.here


class Projection(Backend):
    """A linear model with random weights."""

    info = BackendInfo("projection", (SIDE, SIDE), tuple(map(str, range(CLASSES))), "logits", 128)

    def __init__(self) -> None:
        self._weights = np.random.default_rng(0).normal(size=(3 * SIDE * SIDE, CLASSES)).astype(np.float32) / SIDE

    def query(self, inputs: Float32) -> BackendOutput:
        """See `Backend.query`."""
        return BackendOutput(inputs.reshape(len(inputs), -1) @ self._weights)


@click.command(cls=Program)
def main() -> None:
    """Prints seconds a round and the peak of memory that the rounds allocate."""
    for registered in (1_000, 10_000, 100_000):
        seconds, peak = measure(registered)
        click.echo(f"{registered:>7,} registered   {seconds:.3f} s a round   peak {peak / 2**20:.1f} MiB")


def measure(registered: int) -> tuple[float, int]:
    """Median seconds of a round of 50 clients, and the peak of allocated bytes in one more round."""
    backend = Projection()
    model = PromptedModel(backend.info, Affine((SIDE, SIDE)), LinearReadout(backend.info, backend.info.classes))
    algorithm = FedAvg(AlgorithmContext(model, SpsaGC, 1), clients_per_round=SAMPLED)
    host = ClientHost({TUNED: (algorithm, model.on(backend))}, Clients(registered))
    engine = Serial(Hosts(host), defaultdict(ClientMemory))
    state, clients, times = algorithm.init(), Registered(registered), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        pool = MeteredClientPool(engine, algorithm, algorithm.sample(state, clients), state)
        state, _ = algorithm.round(state, pool.send)
        times.append(time.perf_counter() - start)
    tracemalloc.start()
    algorithm.round(state, MeteredClientPool(engine, algorithm, algorithm.sample(state, clients), state).send)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return statistics.median(times), peak


if __name__ == "__main__":
    main()

"""What registered clients cost who do not take part: `python -m fedbbpt_benchmarks.experiments.population`.

Rounds of `fedavg` with 50 clients out of 1,000, 10,000 and 100,000, whose data exist only while they are looked at. The
model is a small random projection, so that what is measured is the toolkit's own work.
"""

import statistics
import time
import tracemalloc
from collections.abc import Sequence
from functools import partial
from typing import Any, overload

import click
import numpy as np

from fedbbpt.algorithms import Parts
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.backend import Backend, BackendInfo, BackendOutput
from fedbbpt.commands.errors import Program
from fedbbpt.engines.serial import Serial
from fedbbpt.objective import Objective
from fedbbpt.optim.spsa import SpsaGC
from fedbbpt.prompts.affine import Affine
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run.exchange import CountedExchange
from fedbbpt.types import Client, Dataset, Float32

SIDE, CLASSES, SAMPLED, ROUNDS = 32, 10, 50, 5


class Registered(Sequence[Client]):
    """Clients of 16 random images each, made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Client: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Client]: ...
    def __getitem__(self, index: Any) -> Any:
        rng = np.random.default_rng(index)
        data = Dataset(rng.integers(0, 256, (16, 3, SIDE, SIDE), np.uint8), rng.integers(0, CLASSES, 16))
        return Client(f"client-{index:06d}", data, data, data)


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
    objective = Objective(backend, Affine((SIDE, SIDE)), LinearReadout(backend.info, backend.info.classes))
    algorithm = FedAvg(Parts(objective, partial(SpsaGC), 1), fraction=SAMPLED / registered)
    state, clients, times = algorithm.init(), Registered(registered), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        state, _ = algorithm.round(state, CountedExchange(Serial(), algorithm.sample(state, clients)))
        times.append(time.perf_counter() - start)
    tracemalloc.start()
    algorithm.round(state, CountedExchange(Serial(), algorithm.sample(state, clients)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return statistics.median(times), peak


if __name__ == "__main__":
    main()

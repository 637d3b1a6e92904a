"""How much slower a core is while all cores of this machine are busy, against one that is busy alone."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from statistics import mean

import numpy as np
from pydantic import BaseModel

from fedbbpt.engines.worker import SPAWN
from fedbbpt_backends.local_vit import Network

IMAGES, REQUESTS = 64, 10  # of the model that the sites ask
TIMEOUT = 120.0  # seconds for all processes to open the model
MEMORY = 512  # MiB for activations
_opened: list[Network] = []  # in a process that works


class Cores(BaseModel):
    """What was measured; each core runs a process of one thread."""

    cores: int
    alone: float  # seconds of the processor for the same work
    together: float  # while all cores do it

    @property
    def slowdown(self) -> float:
        """Of a core while all are busy."""
        return max(1.0, self.together / self.alone)


def measure_cores() -> Cores:
    """Asks the embedded model in one process, and in as many as there are cores."""
    cores = os.cpu_count() or 1
    return Cores(cores=cores, alone=_seconds(1), together=_seconds(cores))


def _seconds(processes: int) -> float:
    """The mean of so many processes at the same time."""
    barrier = SPAWN.Barrier(processes, timeout=TIMEOUT)
    with ProcessPoolExecutor(processes, SPAWN, _begin, (barrier,)) as pool:
        return mean(pool.map(_work, range(processes)))


def _begin(barrier: Barrier) -> None:
    """Opens the model in a process; returns once all processes have."""
    import torch

    torch.set_num_threads(1)
    _opened.append(Network("embedded", None, "auto", "cpu", MEMORY))
    _work(0)  # warms up
    barrier.wait()


def _work(_: int) -> float:
    (network,) = _opened
    images = np.random.default_rng(0).random((IMAGES, 3, *network.model.size), np.float32)
    start = time.process_time()
    for _ in range(REQUESTS):
        network.features(images)
    return time.process_time() - start

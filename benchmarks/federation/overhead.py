"""The default run over a federation on this machine, beside the same run of as many workers of engine `processes`."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from fedbbpt.errors import FederationError
from fedbbpt.federation.demo_members import Members
from fedbbpt.federation.loopback import site_names, start_federation
from fedbbpt.federation.nodes import sigterm_interrupts
from fedbbpt.printing import excerpt
from fedbbpt.run.atomic_files import checksum
from fedbbpt.run.environment import read_results
from fedbbpt_benchmarks.federation.sites import THREADS, Tell, own_model


class Finished(BaseModel):
    """A run that has finished."""

    seconds: float  # of the command `fedbbpt train`, from its start to its end
    parameters: str  # SHA-256 of the last checkpoint
    queries: int
    bytes_down: int
    bytes_up: int
    exchanges: int


class Overhead(BaseModel):
    """The same run of both engines."""

    sites: int
    joined: float  # seconds from the start of the federation until all sites have joined
    federation: Finished
    processes: Finished

    @property
    def seconds(self) -> float:
        """How much longer the federation takes, with its own start."""
        return self.joined + self.federation.seconds - self.processes.seconds

    @property
    def same(self) -> bool:
        """Whether parameters, queries, bytes and exchanges are the same."""
        return self.federation.model_copy(update={"seconds": self.processes.seconds}) == self.processes


def measure_overhead(folder: Path, sites: int, tell: Tell) -> Overhead:
    """Trains twice, with every setting at its default but for the model's classifier and dtype.

    Args:
        folder: holds the sites' images, and is left with the federation and both runs.
        sites: how many.
        tell: shows a line.

    Raises:
        FederationError: something does not work; a sentence says what.
        MissingExtra: a package is not installed.
    """
    backend = own_model()
    started = time.monotonic()
    with sigterm_interrupts(), Members(folder / "logs", tell) as members:
        federation = start_federation(folder, site_names(sites), members, threads=THREADS, backend=backend)
        joined = time.monotonic() - started
        at_sites = ["--engine", "nvflare", "--federation", str(federation.folder)]
        over = _train([*at_sites, "-o", f"engine.min_sites={sites}"], folder / "federation-run", tell)
    task = ["--task", f"sites:{folder / 'data'}", "--backend", *backend]
    return Overhead(
        sites=sites,
        joined=joined,
        federation=over,
        processes=_train(
            [*task, "--engine", "processes", "-o", f"engine.workers={sites}"], folder / "processes-run", tell
        ),
    )


def _train(options: Sequence[str], out: Path, tell: Tell) -> Finished:
    """Runs `fedbbpt train`."""
    words = ["fedbbpt", "train", *options, "--out", str(out)]
    tell(" ".join(words))
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *words], env=os.environ | {"OMP_NUM_THREADS": str(THREADS)}, capture_output=True
    )
    seconds = time.monotonic() - start
    if done.returncode:
        raise FederationError(f"fedbbpt train has failed: {excerpt(done.stderr.decode(errors='replace').strip())}")
    summary, last = read_results(out)[0], max((out / "checkpoints").glob("*.safetensors"))
    counts = {name: summary[name] for name in ("queries", "bytes_down", "bytes_up", "exchanges")}
    return Finished(seconds=seconds, parameters=checksum(last.read_bytes()), **counts)

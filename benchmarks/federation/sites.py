"""A federation with so many sites on this machine: its exchanges, the requests of two rounds, and its memory."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from fedbbpt.federation import jobs
from fedbbpt.federation.demo_members import Members
from fedbbpt.federation.footprint import Footprint
from fedbbpt.federation.job_folder import JobFolder, Timing
from fedbbpt.federation.loopback import OWN_MODEL, engine_of, site_names, start_federation, write_images
from fedbbpt.federation.nodes import sigterm_interrupts
from fedbbpt.run.atomic_files import writing
from fedbbpt_backends.device import fast_dtype
from fedbbpt_benchmarks.federation.processor_time import ProcessorTime

DEALT = 4  # sites among which the images are dealt; more sites hold the same images as these, over again
THREADS = 1  # of each site; how many there are decides the last bits of a run
ROUNDS = 2

Tell = Callable[[str], None]  # takes a line for the user


class SitesMeasured(BaseModel):
    """What was measured."""

    sites: int
    joined: float  # seconds from the start until all sites have joined
    timing: Timing
    processor: dict[str, float]  # seconds of each member's processes while the exchanges were measured
    memory: dict[str, int]  # bytes of each member's processes, when all of them together took the most


def measure_sites(folder: Path, sites: int, exchanges: int, tell: Tell) -> SitesMeasured:
    """Trains for two rounds with sites on this machine.

    Args:
        folder: holds the sites' images, and is left with the federation and the run.
        sites: how many.
        exchanges: how many are measured before training.
        tell: shows a line.

    Raises:
        FederationError: something does not work; a sentence says what.
        MissingExtra: a package is not installed.
    """
    started = time.monotonic()
    names = site_names(sites)
    with (
        sigterm_interrupts(),
        Members(folder / "logs", tell) as members,
        Footprint(members.names) as footprint,
        ProcessorTime(members.names) as processor,
    ):
        federation = start_federation(folder, names, members, threads=THREADS, backend=own_model())
        joined = time.monotonic() - started
        settings = {"rounds": ROUNDS, "engine": engine_of(federation)}
        jobs.train(federation, settings, None, folder / "run", tell, timed_exchanges=exchanges)
    (job,) = (federation.server.folder / "jobs").iterdir()
    timing, memory = JobFolder(job).timing, Counter[str]()
    for process in footprint.peak:
        memory[process.member] += process.memory
    used = processor.used(*timing.echoes_at)
    return SitesMeasured(sites=sites, joined=joined, timing=timing, processor=used, memory=memory)


def own_model() -> list[str]:
    """Each site's backend. Its dtype is chosen once: "auto" is timed, and may be another one while others compute."""
    return [*OWN_MODEL, "-o", f"backend.dtype={str(fast_dtype('cpu')).removeprefix('torch.')}"]


def new_folder(out: Path, name: str, sites: int) -> Path:
    """A new folder with the images of so many sites in `data`; what an earlier attempt left there is removed."""
    folder, dealt = out / name, out / "data"
    with writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "data").mkdir(parents=True)
    if not dealt.exists():
        write_images(dealt, site_names(DEALT))
    for i, site in enumerate(site_names(sites)):
        (folder / "data" / site).symlink_to((dealt / site_names(DEALT)[i % DEALT]).absolute())
    return folder

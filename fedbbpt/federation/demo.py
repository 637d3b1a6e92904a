"""A demo of a federation: it starts one on this machine, trains with it, and ends it."""

import shlex
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedbbpt.federation import jobs
from fedbbpt.federation.demo_members import Members
from fedbbpt.federation.kits import needs_nvflare
from fedbbpt.federation.loopback import OWN_MODEL, cores_for, engine_of, site_names, start_federation, write_images
from fedbbpt.federation.nodes import sigterm_interrupts
from fedbbpt.run.atomic_files import write_json
from fedbbpt.run.formatting import format_bytes

if TYPE_CHECKING:
    from fedbbpt.federation.footprint import Footprint

SETTINGS: dict[str, Any] = {  # few queries, and yet better than the model as it is
    "rounds": 2,
    "algorithm": {"num_prompts": 3},
    "data": {"shots_per_class": 3, "validation_shots_per_class": 1, "test_limit": 60},  # at each site
}

WITHOUT_SERVER: dict[str, Any] = {  # steps in place of exact fits
    "rounds": 6,
    "evaluate_every": 6,
    "data": SETTINGS["data"],
}
Tell = Callable[[str], None]  # takes a line for the user


def run_demo(folder: Path, sites: int, tell: Tell, *, topology: str | None, served: bool) -> list[str]:
    """Makes a federation in a new folder, trains with it, and ends all of its processes.

    Args:
        folder: is left with the sites' images (`data`), the federation (`federation`), the trained run (`run`), what
            the processes said (`logs`), and what they took (`demo.json`).
        sites: how many.
        tell: shows a line.
        topology: who talks to whom, without a server; None with one.
        served: whether all sites ask one served model; else each loads its own.

    Returns: the commands that it ran, for whoever goes on by hand.

    Raises:
        ConfigError: there is no such topology.
        FederationError: something does not work; a sentence says what.
        MissingExtra: a package is not installed.
        KeyboardInterrupt: Ctrl-C, or SIGTERM; all processes have ended.
    """
    with needs_nvflare():
        from fedbbpt.federation.footprint import Footprint

    settings = SETTINGS
    if topology is not None:
        from fedbbpt.topology import make

        make(topology, sites)  # what is wrong with it is said before anything starts
        settings = WITHOUT_SERVER | {"algorithm": {"name": "gossip", "topology": topology}}
    started = time.monotonic()
    names = site_names(sites)
    count = write_images(folder / "data", names)
    tell(f"{'data':15}{count:,} handwritten digits in {folder / 'data'}, each at one of {sites} sites")
    with sigterm_interrupts(), Members(folder / "logs", tell) as members, Footprint(members.names) as footprint:
        backend = None if served else OWN_MODEL
        federation = start_federation(folder, names, members, threads=cores_for(sites), backend=backend)
        tell(f"{'joined':15}all sites, {time.monotonic() - started:.0f} s after the start")
        jobs.train(federation, settings | {"engine": engine_of(federation)}, None, folder / "run", tell)
    _tell_costs(folder, footprint, time.monotonic() - started, tell)
    tell(f"{'report':15}{folder / 'run' / 'report.html'}")
    options = [] if topology is None else ["--algorithm", "gossip", "-o", f"algorithm.topology={topology}"]
    return [*members.commands, shlex.join(["fedbbpt", "train", "--federation", str(federation.folder), *options])]


def _tell_costs(folder: Path, footprint: "Footprint", seconds: float, tell: Tell) -> None:
    """Shows, and writes to `demo.json`, what the processes were and took."""
    peak, total = footprint.peak, footprint.total
    write_json(folder / "demo.json", {"seconds": seconds, "memory": total, "processes": list(map(asdict, peak))})
    for process in peak:
        tell(f"{process.member:15}{format_bytes(process.memory):>7}  {process.program} (process {process.pid})")
    tell(f"{'memory':15}{format_bytes(total):>7}  of these {len(peak)} processes together, at most; all have ended")
    tell(f"{'time':15}{seconds:>5.0f} s")

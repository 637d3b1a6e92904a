"""What has to be there again before a run can go on after a job that ended early."""

import time
from collections.abc import Callable, Collection
from pathlib import Path

from fedbbpt.errors import FederationError, RunError
from fedbbpt.federation.experiment import FILE, FederatedRun
from fedbbpt.federation.job_folder import Job
from fedbbpt.federation.kits import Federation
from fedbbpt.federation.nodes import ServerState, server_state
from fedbbpt.federation.reachability import answers
from fedbbpt.run.lock import folder_lock
from fedbbpt.run.records import read_record
from fedbbpt.run.resume import read_run

POLL = 0.2  # seconds
SERVER_TIMEOUT = 120.0  # seconds for a server to be started again
JOB_TIMEOUT = 60.0  # seconds for the process of the job before to end
SITES_TIMEOUT = 30.0  # seconds for sites to find the server again

Tell = Callable[[str], None]


def wait_until_ready(federation: Federation, job: Job, lost: Collection[str], tell: Tell) -> None:
    """Waits for the server, and for the run's sites.

    For sites that were `lost` nobody waits, unless a round cannot do without them.

    Raises:
        FederationError: the server is not started again.
    """
    out = Path(job.out)
    no_server = f"the server does not run: start it with fedbbpt federation up {federation.folder}, and continue with "
    # For a moment after the server's end, its state still says that it runs.
    _wait(
        lambda: _state(federation).since is not None and answers(federation.admin),
        SERVER_TIMEOUT,
        f"{no_server}fedbbpt train --resume {out}",
    )
    sites, min_sites, told = set(job.sites), 1, False
    if (out / "config.toml").exists():
        sites, min_sites = _sites(out), read_run(out)[0].engine.options["min_sites"]
    deadline = time.monotonic() + SITES_TIMEOUT
    while True:
        there, late = sites & _state(federation).sites.keys(), time.monotonic() > deadline
        if len(there) >= min_sites and (late or sites - set(lost) <= there):
            return
        if late and not told:
            told = True
            tell(f"waiting until {min_sites} of the sites are there (away: {', '.join(sorted(sites - there))})")
        time.sleep(POLL)


def wait_until_free(out: Path) -> None:
    """Waits until no process works on a run.

    Raises:
        FederationError: one does not end.
    """
    _wait(lambda: _is_free(out), JOB_TIMEOUT, f"another process works on the run in {out}: wait for it, or stop it")


def sites_that_are_back(federation: Federation, out: Path, lost: dict[str, float]) -> list[str]:
    """The sites that may take part, that a job has lost, and that have joined the federation since last heard of."""
    if not lost or not (out / FILE).exists():
        return []
    record = read_record(out / FILE, FederatedRun)
    joined, sites = _state(federation).sites, {*record.sites, *record.invited}
    return [site for site, heard in lost.items() if site in sites and joined.get(site, 0.0) > heard]


def _sites(out: Path) -> set[str]:
    """The sites that have taken part in a run."""
    return set(read_record(out / FILE, FederatedRun).sites)


def _state(federation: Federation) -> ServerState:
    """The server's state; without sites if it does not run."""
    return server_state(federation) or ServerState(pid=0)


def _is_free(out: Path) -> bool:
    """Whether nobody works on a run."""
    try:
        with folder_lock(out):
            return True
    except RunError:
        return False


def _wait(is_so: Callable[[], bool], timeout: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > deadline:
            raise FederationError(otherwise)
        time.sleep(POLL)

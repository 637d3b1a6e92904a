"""What the administrator of a federation asks its server, over the same port as the sites."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fedbbpt.errors import FederationError
from fedbbpt.federation.job_folder import Activity, JobFolder
from fedbbpt.federation.kits import Federation, needs_nvflare
from fedbbpt.federation.nodes import server_state
from fedbbpt.federation.reachability import check_server

Answer = TypeVar("Answer")
LOGIN_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class SiteStatus:
    """A site, as the server sees it."""

    name: str
    since: float | None = None  # when it joined, in seconds since 1970; None if it is not there
    last_seen: float | None = None
    backend: str = ""  # of the run that works now
    doing: str = ""  # the request that it answers now, or answered last, in that run


@dataclass(frozen=True)
class JobStatus:
    """A job that waits or runs."""

    id: str
    name: str
    status: str  # NVFlare's word
    submitted: str  # date and time


@dataclass(frozen=True)
class FederationStatus:
    """How a federation fares."""

    since: float  # when the server started, in seconds since 1970
    sites: list[SiteStatus]
    jobs: list[JobStatus]


class ServerAway(FederationError):  # noqa: N818 - reads as what it says
    """The server does not answer any more."""


@contextlib.contextmanager
def admin_session(federation: Federation) -> Iterator[Any]:
    """A session with the server, `nvflare.fuel.flare_api.flare_api.Session`; closed in any case, or Python never ends.

    Raises:
        FederationError: the server does not run, or does not take the administrator's kit.
        MissingExtra: NVFlare is not installed.
    """
    kit = federation.admin
    kit.check()
    check_server(kit)
    with needs_nvflare():
        from nvflare.fuel.flare_api.flare_api import new_secure_session
    with contextlib.redirect_stdout(io.StringIO()):  # it greets
        try:
            session = new_secure_session(kit.name, str(kit.folder.absolute()), timeout=LOGIN_TIMEOUT)
        except Exception as e:  # NVFlare has a dozen kinds
            raise FederationError(f"the server does not let the administrator in: {e}") from e
    try:
        yield session
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            session.close()


def ask(command: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
    """What a command of a session returns.

    Raises:
        ServerAway: the server does not answer.
    """
    try:
        return command(*arguments, **options)
    except Exception as e:  # NVFlare has a dozen kinds
        raise ServerAway(f"the server does not answer any more ({e})") from e


def status(federation: Federation) -> FederationStatus | None:
    """How a federation fares; None if its server does not run on this machine.

    Raises:
        FederationError: the server does not answer.
        MissingExtra: NVFlare is not installed.
    """
    if server_state(federation) is None:
        return None
    with admin_session(federation) as session:
        seen = {client.name: client.last_connect_time for client in session.get_system_info().client_info}
        jobs = session.list_jobs(detailed=True)
    state = server_state(federation)  # it knows of all sites that NVFlare knew of before
    if state is None or state.since is None:
        return None
    open_jobs = [_job(job) for job in jobs if is_open(job, state.since)]
    working = JobFolder.working(federation.server.folder) if open_jobs else None
    activity = Activity() if working is None else working.activity
    sites = [
        SiteStatus(
            name, state.sites.get(name), seen[name], activity.backends.get(name, ""), activity.doing.get(name, "")
        )
        if name in seen
        else SiteStatus(name)
        for name in federation.description.sites
    ]
    return FederationStatus(state.since, sites, open_jobs)


def _job(values: dict[str, Any]) -> JobStatus:
    return JobStatus(values["job_id"], values["name"], values["status"].lower(), values["submit_time_iso"])


def is_open(values: Mapping[str, Any], since: float) -> bool:
    """Whether NVFlare's values of a job mean that it waits or runs, on a server that was started at `since`.

    NVFlare goes on saying that a job runs which ended with the server before.
    """
    status = str(values.get("status", ""))
    is_of_this_server = status == "SUBMITTED" or values.get("last_schedule_time", since) >= since
    return is_of_this_server and not status.startswith(("FINISHED", "FAILED", "ABANDONED"))

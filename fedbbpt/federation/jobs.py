"""Submits runs to a federation, shows their progress, and submits them again when a site is back."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedbbpt.errors import FederationError, RunError
from fedbbpt.federation.admin import ServerAway, admin_session, ask, is_open
from fedbbpt.federation.job_folder import Job, JobFolder, Outcome
from fedbbpt.federation.kits import Federation
from fedbbpt.federation.nodes import server_state
from fedbbpt.federation.reachability import Unreachable
from fedbbpt.federation.readiness import sites_that_are_back, wait_until_free, wait_until_ready
from fedbbpt.run.atomic_files import reading
from fedbbpt.run.checkpoint import last_round
from fedbbpt.run.lock import exclusive_lock

Tell = Callable[[str], None]
POLL = 0.1  # seconds between looks at the progress
LOOK = 2.0  # seconds between questions to NVFlare's server
SETTLE = 3.0  # seconds for what a job wrote last, after NVFlare says that it has ended
MAX_RESTARTS = 3  # in a row without a new round
CONTROLLER, EXECUTOR = "fedbbpt.federation.flare.ServerHalf", "fedbbpt.federation.flare.SiteHalf"


def train(
    federation: Federation,
    settings: Mapping[str, Any],
    preset: str | None,
    out: Path,
    tell: Tell,
    *,
    timed_exchanges: int = 0,
) -> None:
    """Trains a new run; returns when it is finished.

    Args:
        federation: whose sites are the clients.
        settings: as users write them, without task and backend.
        preset: as `make_config` takes it.
        out: the run's folder.
        tell: shows a line.
        timed_exchanges: so many exchanges are measured before training; see `JobFolder.timing`.

    Raises:
        FederationError: the run stopped, or the server cannot be reached.
    """
    job = _job(federation, out, settings, preset)
    _follow(federation, job.model_copy(update={"timed_exchanges": timed_exchanges}), tell)


def resume(federation: Federation, out: Path, tell: Tell) -> None:
    """Continues a run; returns when it is finished. If a job still works on it, that one is followed.

    Raises:
        FederationError: the run stopped, or the server cannot be reached.
        RunError: there is no run.
    """
    if not (out / "config.toml").exists():
        raise RunError(f"{out} holds no run of a federation that can be resumed")
    _follow(federation, _job(federation, out, {}, None, resume=True), tell)


def _job(
    federation: Federation, out: Path, settings: Mapping[str, Any], preset: str | None, *, resume: bool = False
) -> Job:
    sites = list(federation.description.sites)
    return Job(sites=sites, out=str(out.absolute()), resume=resume, settings=dict(settings), preset=preset)


def _follow(federation: Federation, job: Job, tell: Tell) -> None:
    """Follows the run's job, or submits one; and again as a resumed one while there is reason to.

    A server that cannot be reached at the start ends it; one that has been there before is waited for.
    """
    out, without_progress = Path(job.out), 0
    folder: JobFolder | None = None
    busy = FederationError(f"another fedbbpt train follows the run in {out}: wait for it, or stop it")
    with exclusive_lock(out / ".follower.lock", busy):  # one process at a time submits jobs of a run
        while True:
            before = last_round(out / "checkpoints")
            try:
                with admin_session(federation) as session:
                    folder, id_ = _open_job(federation, session, job) or _submit(federation, session, job)
                    reason = _watch(federation, session, folder, id_, tell)
            except (ServerAway, Unreachable) as e:
                if folder is None and isinstance(e, Unreachable):
                    raise
                reason = str(e)
            if reason is None:
                return
            without_progress = 0 if last_round(out / "checkpoints") > before else without_progress + 1
            if without_progress > MAX_RESTARTS:
                raise FederationError(f"{reason}, again and again; {federation.server.log} says more")
            begun = (out / "config.toml").exists()
            tell(f"{reason}; the run {'goes on from its last checkpoint' if begun else 'begins again'}")
            wait_until_ready(federation, job, folder.lost if folder else (), tell)
            job = job.model_copy(update={"resume": begun})


def _open_job(federation: Federation, session: Any, job: Job) -> tuple[JobFolder, str] | None:
    """The job that works on the same run, and its id, if there is one: its submitter may have been killed."""
    for values in ask(session.list_jobs, detailed=True):
        folder = JobFolder.find(federation.server.folder, values["name"])
        if folder is None or folder.job.out != job.out or folder.outcome is not None or _is_over(federation, values):
            continue
        if job.resume or (folder.job.settings, folder.job.preset) == (job.settings, job.preset):
            return folder, values["job_id"]
    return None


def _submit(federation: Federation, session: Any, job: Job) -> tuple[JobFolder, str]:
    """Submits a job to NVFlare, under the name of its folder; returns that and the job's id there.

    Raises:
        FederationError: a process works on the run, and does not end.
    """
    wait_until_free(Path(job.out))  # the process of a job that has been stopped may still be at it
    folder = JobFolder.new(federation.server.folder, job)
    with tempfile.TemporaryDirectory() as temporary:
        definition = Path(temporary) / "fedbbpt"
        config = definition / "app" / "config"
        config.mkdir(parents=True)
        meta = {"name": folder.name, "resource_spec": {}, "min_clients": 1, "deploy_map": {"app": ["@ALL"]}}
        workflow = {"id": "run", "path": CONTROLLER, "args": {"job": folder.name}}
        executor = {"tasks": ["*"], "executor": {"path": EXECUTOR, "args": {}}}
        parts = {
            definition / "meta.json": meta,
            config / "config_fed_server.json": {"format_version": 2, "workflows": [workflow], "components": []},
            config / "config_fed_client.json": {"format_version": 2, "executors": [executor], "components": []},
        }
        for path, content in parts.items():
            path.write_text(json.dumps(content))
        return folder, str(ask(session.submit_job, str(definition)))


def _watch(federation: Federation, session: Any, folder: JobFolder, id_: str, tell: Tell) -> str | None:
    """Shows a job's progress until it ends; returns why the run has to be submitted again, or None if it is finished.

    Raises:
        FederationError: the run stopped for a reason that does not go away by itself.
    """
    shown, looked, ended = 0, time.monotonic(), None
    try:
        while True:
            shown = _show(folder.progress, shown, tell)
            if (outcome := folder.outcome) is not None:
                _show(folder.progress, shown, tell)
                begun = (Path(folder.job.out) / "config.toml").exists()
                if outcome.error is not None and not (outcome.quorum_lost and begun):
                    raise FederationError(outcome.error)
                return outcome.error
            if ended is not None and time.monotonic() > ended + SETTLE:
                return "the server's job ended early"
            if time.monotonic() > looked + LOOK:
                looked = time.monotonic()
                if ended is None and _is_over(federation, ask(session.get_job_meta, id_)):
                    ended = looked
                if back := sites_that_are_back(federation, Path(folder.job.out), folder.lost):
                    _stop(session, folder, id_)
                    return f"{', '.join(back)} {'are' if len(back) > 1 else 'is'} back"
            time.sleep(POLL)
    except KeyboardInterrupt:
        _stop(session, folder, id_)
        raise


def _stop(session: Any, folder: JobFolder, id_: str) -> None:
    """Ends a job for good: NVFlare says for some seconds more that it runs, and nobody is to follow it again."""
    folder.write_outcome(Outcome(error="it was stopped"))
    ask(session.abort_job, id_)


def _show(path: Path, shown: int, tell: Tell) -> int:
    """Shows the whole lines behind the first `shown` bytes of a file; returns how many have been shown then."""
    if not path.exists():
        return shown
    with reading(path), path.open("rb") as file:
        file.seek(shown)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    for line in whole.decode().splitlines():
        tell(line)
    return shown + len(whole)


def _is_over(federation: Federation, values: Mapping[str, Any]) -> bool:
    """Whether a job has ended; NVFlare's values of it may be older than the server."""
    state = server_state(federation)
    return state is None or state.since is None or not is_open(values, state.since)

"""Submits runs to a federation, shows their progress, and submits them again when a site is back."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedbbpt.errors import FederationError, RunError
from fedbbpt.federation.admin import admin_session
from fedbbpt.federation.experiment import FILE, FederatedRun
from fedbbpt.federation.job_folder import Job, JobFolder
from fedbbpt.federation.kits import Federation
from fedbbpt.federation.nodes import server_state
from fedbbpt.run.atomic_files import reading
from fedbbpt.run.records import read_record

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
    if not (out / FILE).exists():
        raise RunError(f"{out} holds no run of a federation that can be resumed")
    _follow(federation, _job(federation, out, {}, None, resume=True), tell)


def _job(
    federation: Federation, out: Path, settings: Mapping[str, Any], preset: str | None, *, resume: bool = False
) -> Job:
    sites = list(federation.description.sites)
    return Job(sites=sites, out=str(out.absolute()), resume=resume, settings=dict(settings), preset=preset)


def _follow(federation: Federation, job: Job, tell: Tell) -> None:
    """Submits a job, and again as a resumed one while there is reason to."""
    out, without_progress = Path(job.out), 0
    with admin_session(federation) as session:
        while True:
            before = _rounds(out)
            folder = JobFolder.new(federation.server.folder, job)
            reason = _watch(federation, session, folder, _submit(session, folder), tell)
            if reason is None:
                return
            without_progress = 0 if _rounds(out) > before else without_progress + 1
            if without_progress > MAX_RESTARTS or not (out / FILE).exists():
                raise FederationError(
                    f"{reason}; {federation.server.log} says why. No round is lost: continue with fedbbpt train "
                    f"--resume {out}"
                )
            tell(f"{reason}; the run goes on from its last checkpoint")
            job = job.model_copy(update={"resume": True})


def _submit(session: Any, folder: JobFolder) -> str:
    """Submits a job to NVFlare; returns its id there."""
    with tempfile.TemporaryDirectory() as temporary:
        definition = Path(temporary) / "fedbbpt"
        config = definition / "app" / "config"
        config.mkdir(parents=True)
        meta = {"name": "fedbbpt", "resource_spec": {}, "min_clients": 1, "deploy_map": {"app": ["@ALL"]}}
        workflow = {"id": "run", "path": CONTROLLER, "args": {"job": folder.name}}
        executor = {"tasks": ["*"], "executor": {"path": EXECUTOR, "args": {}}}
        parts = {
            definition / "meta.json": meta,
            config / "config_fed_server.json": {"format_version": 2, "workflows": [workflow], "components": []},
            config / "config_fed_client.json": {"format_version": 2, "executors": [executor], "components": []},
        }
        for path, content in parts.items():
            path.write_text(json.dumps(content))
        return str(session.submit_job(str(definition)))


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
                shown = _show(folder.progress, shown, tell)
                if outcome.error is not None:
                    raise FederationError(outcome.error)
                return None
            if ended is not None and time.monotonic() > ended + SETTLE:
                return "the server's job ended early"
            if time.monotonic() > looked + LOOK:
                looked = time.monotonic()
                if ended is None and _has_ended(session, id_):
                    ended = looked
                if back := _back(federation, folder):
                    session.abort_job(id_)
                    _wait_for_end(session, id_)
                    return f"{', '.join(back)} {'are' if len(back) > 1 else 'is'} back"
            time.sleep(POLL)
    except KeyboardInterrupt:
        session.abort_job(id_)
        raise


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


def _has_ended(session: Any, id_: str) -> bool:
    return str(session.get_job_meta(id_).get("status", "")).startswith(("FINISHED", "FAILED", "ABANDONED"))


def _wait_for_end(session: Any, id_: str) -> None:
    for _ in range(100):
        if _has_ended(session, id_):
            return
        time.sleep(POLL)


def _back(federation: Federation, folder: JobFolder) -> list[str]:
    """The run's sites that a job has lost and that have joined the federation again since."""
    lost, record = folder.lost, Path(folder.job.out) / FILE
    if not lost or not record.exists() or (state := server_state(federation)) is None:
        return []
    sites = read_record(record, FederatedRun).sites
    return [site for site, since in lost.items() if site in sites and (state.sites.get(site) or 0.0) > since]


def _rounds(out: Path) -> int:
    """The last round of a run that has a checkpoint; -1 without any."""
    return max(
        (int(path.stem.removeprefix("round-")) for path in (out / "checkpoints").glob("round-*.json")), default=-1
    )

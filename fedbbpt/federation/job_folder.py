"""A job in the server's kit: what was submitted, the progress for whoever submitted it, and how it ended."""

import logging
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from fedbbpt.errors import FedbbptError, FederationError
from fedbbpt.federation.channel import Answer, Channel, Failure, JobAborted, QuorumLost
from fedbbpt.federation.messages import Request, Response
from fedbbpt.federation.server import resume_run, train_run
from fedbbpt.federation.timing import EchoingChannel, TimedChannel, Timing
from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt.run.progress import LineReporter
from fedbbpt.run.records import read_record, to_record

log = logging.getLogger("fedbbpt.federation")
NAME = re.compile(r"[0-9a-f]{32}")


class Job(BaseModel):
    """What was submitted."""

    model_config = ConfigDict(frozen=True)
    sites: list[str]  # of the federation
    out: str  # the run's folder
    resume: bool
    settings: dict[str, Any]
    preset: str | None = None
    timed_exchanges: int = 0  # to measure before training; see `timing`


class Outcome(BaseModel):
    """How a job ended."""

    error: str | None = None  # a sentence for the user; None if the run is finished
    quorum_lost: bool = False  # the run can go on once enough sites are back


class Lost(BaseModel):
    """The sites that did not answer, and when each was last heard of, in seconds since 1970."""

    sites: dict[str, float] = {}


class Activity(BaseModel):
    """What the sites of a job do, for its operator."""

    run: str = ""  # its folder
    backends: dict[str, str] = {}  # by site
    doing: dict[str, str] = {}  # by site


@dataclass(frozen=True)
class JobFolder:
    """The folder of a job, in the server's kit."""

    folder: Path

    @classmethod
    def of(cls, kit: Path, name: str) -> "JobFolder":
        """The folder of a job by its name.

        Raises:
            FederationError: that is not how jobs are named.
        """
        if not NAME.fullmatch(name):
            raise FederationError("this is no job of fedbbpt train")
        return cls(kit / "jobs" / name)

    @classmethod
    def find(cls, kit: Path, name: str) -> "JobFolder | None":
        """The folder of a job by its name, if there is one."""
        return cls(kit / "jobs" / name) if NAME.fullmatch(name) and (kit / "jobs" / name).exists() else None

    @classmethod
    def new(cls, kit: Path, job: Job) -> "JobFolder":
        """Makes the folder of a new job."""
        made = cls.of(kit, uuid.uuid4().hex)
        with writing(made.folder):
            made.folder.mkdir(parents=True)
        write_atomic(made.folder / "job.json", to_record(job.model_dump()))
        return made

    @classmethod
    def working(cls, kit: Path) -> "JobFolder | None":
        """The newest job that has not ended; None if all have."""
        newest = sorted((kit / "jobs").glob("*/job.json"), key=lambda path: path.stat().st_mtime)
        last = cls(newest[-1].parent) if newest else None
        return last if last is not None and last.outcome is None else None

    @property
    def name(self) -> str:
        """The job's name."""
        return self.folder.name

    @cached_property
    def job(self) -> Job:
        """What was submitted."""
        return read_record(self.folder / "job.json", Job)

    @property
    def progress(self) -> Path:
        """The lines that whoever submitted the job reads."""
        return self.folder / "progress.txt"

    @property
    def outcome(self) -> Outcome | None:
        """How the job ended; None if it has not."""
        path = self.folder / "outcome.json"
        return read_record(path, Outcome) if path.exists() else None

    @property
    def lost(self) -> dict[str, float]:
        """The sites that did not answer, and when each was last heard of."""
        path = self.folder / "lost.json"
        return read_record(path, Lost).sites if path.exists() else {}

    @property
    def activity(self) -> Activity:
        """What the sites do now."""
        path = self.folder / "activity.json"
        return read_record(path, Activity) if path.exists() else Activity()

    @property
    def timing(self) -> Timing:
        """What was measured in a job with `timed_exchanges`."""
        return read_record(self.folder / "timing.json", Timing)

    def write_timing(self, timing: Timing) -> None:
        """Keeps what was measured."""
        write_atomic(self.folder / "timing.json", to_record(timing.model_dump()))

    def write_outcome(self, outcome: Outcome) -> None:
        """Says how the job ended."""
        write_atomic(self.folder / "outcome.json", to_record(outcome.model_dump()))

    def note_lost(self, sites: dict[str, float]) -> None:
        """Says which sites do not answer."""
        write_atomic(self.folder / "lost.json", to_record(Lost(sites=sites).model_dump()))

    def note_activity(self, activity: Activity) -> None:
        """Says what the sites do."""
        write_atomic(self.folder / "activity.json", to_record(activity.model_dump()))


class WatchedChannel:
    """A channel that notes in a job's folder what the sites do, and which do not answer."""

    def __init__(self, channel: Channel, folder: JobFolder) -> None:
        self._channel, self._folder = channel, folder
        self._activity = Activity(run=folder.job.out)
        self._heard = dict.fromkeys(channel.sites, time.time())
        self._lost: set[str] = set()
        self._turn = Lock()  # sites that are away are asked while others work

    @property
    def sites(self) -> tuple[str, ...]:
        """See `Channel`."""
        return self._channel.sites

    def request(self, request: Request, sites: Sequence[str], timeout: float) -> dict[str, Response | Failure]:
        """See `Channel`."""
        if request.kind != "ping":
            self._note({site: f"{request.fields.get('handler', request.kind)}" for site in sites})
        responses = self._channel.request(request, sites, timeout)
        if request.kind == "describe":
            self._activity.backends |= {s: _backend(r) for s, r in responses.items() if isinstance(r, Response)}
        silent = {site for site, response in responses.items() if isinstance(response, Failure)}
        with self._turn:
            self._heard |= dict.fromkeys(responses.keys() - silent, time.time())
            lost = self._lost - responses.keys() | silent
            if lost != self._lost:
                self._lost = lost
                self._folder.note_lost({site: self._heard[site] for site in sorted(lost)})
        return responses

    def answer_with(self, answer: Answer) -> None:
        """See `Channel`."""
        self._channel.answer_with(answer)

    def _note(self, doing: dict[str, str]) -> None:
        before = dict(self._activity.doing)
        self._activity.doing |= doing | dict.fromkeys(self._lost, "away")
        if self._activity.doing != before:
            self._folder.note_activity(self._activity)


def _backend(introduction: Response) -> str:
    backend = introduction.fields.get("backend")
    return str(backend.get("name")) if isinstance(backend, dict) else ""


def run_job(folder: JobFolder, channel: EchoingChannel) -> None:
    """Runs the server's half of a job; whatever happens stands in its folder."""
    job = folder.job
    timed = TimedChannel(channel, job.timed_exchanges) if job.timed_exchanges else None
    watched = WatchedChannel(timed or channel, folder)
    with folder.progress.open("w", buffering=1, encoding="utf-8") as file:
        reporter = LineReporter(Console(file=file, highlight=False, soft_wrap=True))
        try:
            if job.resume:
                resume_run(watched, Path(job.out), reporter)
            else:
                train_run(watched, job.settings, job.preset, Path(job.out), reporter)
        except JobAborted:
            return  # it did not end by itself: whoever submitted it may submit it again
        except QuorumLost as e:
            outcome = Outcome(error=str(e), quorum_lost=True)
        except FedbbptError as e:
            log.error("the run stops: %s", e)
            outcome = Outcome(error=str(e))
        except Exception:
            log.exception("an error in fedbbpt itself")
            outcome = Outcome(error="an error in fedbbpt itself; the server's log says where")
        else:
            outcome = Outcome()
    if timed is not None:
        folder.write_timing(timed.timing)
    folder.write_outcome(outcome)

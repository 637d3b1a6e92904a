"""A job in the server's kit: what was submitted, the progress for whoever submitted it, and how it ended."""

import re
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from fedbbpt.errors import FederationError
from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt.run.records import read_record, to_record

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


class TimedRequest(BaseModel):
    """A request to some sites at once, until the last response."""

    kind: str
    handler: str | None  # of a call
    at: float  # seconds since 1970
    seconds: float
    sites: int
    bytes_down: int  # to each site
    bytes_up: int  # of all sites together


class Timing(BaseModel):
    """What was measured in a job, in seconds; an exchange is with all sites at once, until the last response."""

    began: float  # since 1970, when all sites had answered that they are ready
    echoes: list[float] = []  # of SMALL bytes, by NVFlare alone
    exchanges: list[float] = []  # of SMALL bytes, through the site's job process to its worker, and back
    echoes_at: tuple[float, float] = (0.0, 0.0)  # since 1970: begin and end of both
    large_echoes: list[float] = []
    requests: list[TimedRequest] = []  # of the run itself


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

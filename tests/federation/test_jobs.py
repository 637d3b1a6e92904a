"""What becomes of a run whose job ends early or is no longer followed; NVFlare's session is played."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytest

from fedbbpt.errors import FederationError
from fedbbpt.federation import jobs
from fedbbpt.federation.admin import ServerAway
from fedbbpt.federation.job_folder import Job, JobFolder, Outcome
from fedbbpt.federation.kits import Federation
from fedbbpt.federation.nodes import ServerState
from fedbbpt.federation.provisioning import create
from fedbbpt.federation.reachability import Unreachable

SETTINGS = {"engine": {"name": "nvflare"}}
STARTED = 100.0  # when the server was started
Play = Callable[[JobFolder], str]  # what happens in a job; its status


class Session:
    """An administrator's session; the jobs that are submitted do what the test says, one after the other."""

    def __init__(self, kit: Path, *plays: Play) -> None:
        self.kit, self._plays = kit, list(plays)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.submitted: list[Job] = []
        self.aborted: list[str] = []

    def add(self, folder: JobFolder, status: str, scheduled: float = STARTED) -> None:
        """A job that is there already."""
        values = {"job_id": folder.name, "name": folder.name, "status": status, "last_schedule_time": scheduled}
        self.jobs[folder.name] = values

    def list_jobs(self, *, detailed: bool) -> list[dict[str, Any]]:
        """See NVFlare."""
        return list(self.jobs.values())

    def submit_job(self, definition: str) -> str:
        """See NVFlare; the newest folder is that of the job."""
        new = next(path for path in (self.kit / "jobs").iterdir() if path.name not in self.jobs)
        folder = JobFolder(new)
        self.submitted.append(folder.job)
        self.add(folder, self._plays.pop(0)(folder))
        return folder.name

    def get_job_meta(self, id_: str) -> dict[str, Any]:
        """See NVFlare."""
        return self.jobs[id_]

    def abort_job(self, id_: str) -> None:
        """See NVFlare, which goes on saying that the job runs."""
        self.aborted.append(id_)


def finishes(folder: JobFolder) -> str:
    folder.write_outcome(Outcome())
    return "FINISHED:COMPLETED"


def dies(folder: JobFolder) -> str:
    return "FINISHED:EXECUTION_EXCEPTION"


def begins_and_loses_a_site(folder: JobFolder) -> str:
    (Path(folder.job.out) / "config.toml").touch()
    folder.note_lost({"a": STARTED})
    return "RUNNING"


def begins_and_dies(folder: JobFolder) -> str:
    (Path(folder.job.out) / "config.toml").touch()
    return dies(folder)


def begins_and_loses_its_quorum(folder: JobFolder) -> str:
    (Path(folder.job.out) / "config.toml").touch()
    folder.write_outcome(Outcome(error="1 of 3 sites answered", quorum_lost=True))
    return "FINISHED:COMPLETED"


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    pytest.importorskip("nvflare", exc_type=ImportError)
    return create("study", ["a"], out=tmp_path)


@pytest.fixture
def play(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    """`play(…)`: a session in which the jobs that are submitted do this, one after the other."""
    monkeypatch.setattr(jobs, "LOOK", 0.0)
    monkeypatch.setattr(jobs, "SETTLE", 0.0)
    monkeypatch.setattr(jobs, "wait_until_ready", lambda *_: None)
    monkeypatch.setattr(jobs, "server_state", lambda _: ServerState(1, STARTED))

    def start(*plays: Play) -> Session:
        session = Session(federation.server.folder, *plays)

        @contextmanager
        def admin_session(_: Federation) -> Iterator[Any]:
            yield session

        monkeypatch.setattr(jobs, "admin_session", admin_session)
        return session

    return start


@pytest.mark.parametrize(
    ("first", "sentence", "resumed"),
    [
        (dies, "the server's job ended early; the run begins again", False),
        (begins_and_dies, "the server's job ended early; the run goes on from its last checkpoint", True),
        (begins_and_loses_its_quorum, "1 of 3 sites answered; the run goes on from its last checkpoint", True),
    ],
)
def test_a_run_goes_on_by_itself(
    first: Play, sentence: str, resumed: bool, federation: Federation, play: Callable[..., Session], tmp_path: Path
) -> None:
    session, said = play(first, finishes), list[str]()
    jobs.train(federation, SETTINGS, None, tmp_path / "run", said.append)
    assert said[0].startswith(sentence)
    assert [job.resume for job in session.submitted] == [False, resumed]


def test_a_run_that_gets_nowhere_stops(federation: Federation, play: Callable[..., Session], tmp_path: Path) -> None:
    session = play(*[begins_and_dies] * 9)
    with pytest.raises(FederationError, match="the server's job ended early, again and again"):
        jobs.train(federation, SETTINGS, None, tmp_path / "run", print)
    assert len(session.submitted) == 1 + jobs.MAX_RESTARTS


def test_a_new_run_without_a_quorum_stops(federation: Federation, play: Callable[..., Session], tmp_path: Path) -> None:
    def has_too_few(folder: JobFolder) -> str:
        folder.write_outcome(Outcome(error="1 of the sites take part", quorum_lost=True))
        return "FINISHED:COMPLETED"

    session = play(has_too_few)
    with pytest.raises(FederationError, match="1 of the sites take part"):
        jobs.train(federation, SETTINGS, None, tmp_path / "run", print)
    assert len(session.submitted) == 1


@pytest.mark.parametrize("begun", [True, False])
def test_a_job_whose_submitter_was_killed_is_followed(
    begun: bool, federation: Federation, play: Callable[..., Session], tmp_path: Path
) -> None:
    session, said, out = play(), list[str](), tmp_path / "run"
    out.mkdir()
    working = JobFolder.new(federation.server.folder, Job(sites=["a"], out=str(out), resume=False, settings=SETTINGS))
    working.progress.write_text("round 1\n")
    session.add(working, "RUNNING")

    def tell(line: str) -> None:
        said.append(line)
        working.write_outcome(Outcome())

    if begun:
        (out / "config.toml").touch()
        jobs.resume(federation, out, tell)
    else:
        jobs.train(federation, SETTINGS, None, out, tell)
    assert said == ["round 1"]
    assert session.submitted == []


def test_a_job_that_ended_with_the_server_before_is_not_followed(
    federation: Federation, play: Callable[..., Session], tmp_path: Path
) -> None:
    session, out = play(finishes), tmp_path / "run"
    out.mkdir()
    (out / "config.toml").touch()
    ended = Job(sites=["a"], out=str(out), resume=False, settings=SETTINGS)
    session.add(JobFolder.new(federation.server.folder, ended), "RUNNING", STARTED - 1)
    jobs.resume(federation, out, print)
    assert [job.resume for job in session.submitted] == [True]


def test_a_job_that_was_stopped_is_not_followed_again(
    federation: Federation, play: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jobs, "sites_that_are_back", lambda federation, out, lost: list(lost))
    session, said = play(begins_and_loses_a_site, finishes), list[str]()
    jobs.train(federation, SETTINGS, None, tmp_path / "run", said.append)
    assert said == ["a is back; the run goes on from its last checkpoint"]
    assert session.aborted == list(session.jobs)[:1]
    assert [job.resume for job in session.submitted] == [False, True]


def test_a_job_that_ctrl_c_has_stopped_is_not_followed_by_the_run_that_goes_on(
    federation: Federation, play: Callable[..., Session], tmp_path: Path
) -> None:
    def begins(folder: JobFolder) -> str:
        folder.progress.write_text("round 1\n")
        return begins_and_loses_a_site(folder)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    session = play(begins, finishes)
    with pytest.raises(KeyboardInterrupt):
        jobs.train(federation, SETTINGS, None, tmp_path / "run", interrupt)
    jobs.resume(federation, tmp_path / "run", print)
    assert len(session.submitted) == 2


@pytest.mark.parametrize("error", [ServerAway("it is busy"), Unreachable("nobody answers")])
def test_a_job_still_works_when_the_server_answers_again(
    error: Exception,
    federation: Federation,
    play: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    session, said, errors = play(begins_and_loses_a_site), list[str](), [error]

    def get_job_meta(id_: str) -> dict[str, Any]:
        if errors:
            raise errors.pop()
        JobFolder.of(session.kit, id_).write_outcome(Outcome())
        return session.jobs[id_]

    monkeypatch.setattr(jobs, "ask", lambda command, *arguments, **options: command(*arguments, **options))
    monkeypatch.setattr(session, "get_job_meta", get_job_meta)
    jobs.train(federation, SETTINGS, None, tmp_path / "run", said.append)
    assert said == [f"{error}; the run goes on from its last checkpoint"]
    assert len(session.submitted) == 1


def test_a_server_that_does_not_run_ends_a_run_that_has_not_begun(federation: Federation, tmp_path: Path) -> None:
    with pytest.raises(FederationError, match="does not answer at"):
        jobs.train(federation, SETTINGS, None, tmp_path / "run", print)


def test_a_run_has_one_follower(federation: Federation, play: Callable[..., Session], tmp_path: Path) -> None:
    session, out = play(finishes), tmp_path / "run"
    out.mkdir()
    with filelock.FileLock(out / ".follower.lock"), pytest.raises(FederationError, match="another fedbbpt train"):
        jobs.train(federation, SETTINGS, None, out, print)
    assert session.submitted == []

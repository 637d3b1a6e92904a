"""Sites that cannot do what is asked, over a channel in memory: they are named, and the run goes on."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fedbbpt
from fedbbpt import registry
from fedbbpt.errors import FederationError
from fedbbpt.federation import site_runs
from fedbbpt.federation.channel import JobAborted
from fedbbpt.federation.job_folder import Job, JobFolder
from fedbbpt.federation.messages import Request, Response
from fedbbpt.federation.server_job import run_job
from fedbbpt.federation.site_runs import SiteRun
from fedbbpt.run.atomic_files import writing
from tests.federation.in_memory import Colours, MemoryChannel, Messages, open_sites, write_images
from tests.federation.test_halves import SITES, settings_of, train_at


@pytest.fixture
def channel(tmp_path: Path) -> MemoryChannel:
    registry.register("backends", "colours", Colours)
    return open_sites(tmp_path / "kits", write_images(tmp_path / "data", SITES))


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., JobFolder]:
    """`job(resume, **engine)`: a job for the run in `run`."""

    def new(resume: bool = False, **engine: Any) -> JobFolder:
        settings = settings_of("fedavg", **engine)
        (tmp_path / "run").mkdir(exist_ok=True)
        return JobFolder.new(
            tmp_path / "server", Job(sites=list(SITES), out=str(tmp_path / "run"), resume=resume, settings=settings)
        )

    return new


def is_training(request: Request) -> bool:
    return request.kind == "call" and request.fields["handler"] == "train"


def test_a_site_with_another_version_takes_no_part(channel: MemoryChannel, tmp_path: Path) -> None:
    messages, answer = Messages(), channel.hosts["rome"].handle

    def older(content: bytes) -> bytes:
        response = Response.from_bytes(answer(content))
        return Response("ok", {**response.fields, "version": "0.0.1"}).to_bytes()

    channel.hosts["rome"].handle = older  # type: ignore[method-assign]
    train_at(channel, settings_of("fedavg"), tmp_path / "run", messages)
    assert f"rome takes no part: it runs fedbbpt 0.0.1, and the server {fedbbpt.__version__}" in messages.texts
    asked = {site: Request.from_bytes(content).kind for site, content in channel.requests}
    assert asked == {"berlin": "result", "paris": "result", "rome": "describe"}  # the last


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("save", "rome has not stored what it remembers of round 2 (its work failed; its log says why)"),
        ("add_queries", "rome dropped out of round 2 (its work failed; its log says why); its update is missing"),
    ],
)
def test_a_site_whose_disk_is_full_is_named(
    method: str, sentence: str, channel: MemoryChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages, rounds, write = Messages(), list[Request](), getattr(SiteRun, method)

    def fail_once(run: SiteRun, *arguments: Any) -> None:
        if len(rounds) == 2 and run.folder.parent.parent.name == "rome":
            rounds.append(rounds[-1])
            with writing(run.folder):
                raise OSError(errno.ENOSPC, "no space left")
        write(run, *arguments)

    monkeypatch.setattr(SiteRun, method, fail_once)
    channel.on_request = lambda request: rounds.extend([request] * is_training(request))
    train_at(channel, settings_of("fedavg"), tmp_path / "run", messages)
    assert messages.texts.count(sentence) == 1
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("name", ["ensemble", "fedavg"])
def test_a_site_whose_disk_stays_full_misses_every_round(
    name: str, channel: MemoryChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages, write, full = Messages(), SiteRun.add_queries, []

    def fail(run: SiteRun, queries: int) -> None:
        if full and queries and run.folder.parent.parent.name == "rome":
            with writing(run.folder):
                raise OSError(errno.ENOSPC, "no space left")
        write(run, queries)

    def fill(request: Request) -> None:
        full.extend([request] * (request.kind == "save" and request.fields["round"] == 1))

    monkeypatch.setattr(SiteRun, "add_queries", fail)
    channel.on_request = fill
    train_at(channel, settings_of(name), tmp_path / "run", messages)
    dropped = "rome dropped out of round {} (its work failed; its log says why); its update is missing"
    assert [round_ for round_ in range(4) if dropped.format(round_) in messages.texts] == [2, 3]
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_job_that_is_aborted_says_nothing_of_how_it_ended(
    channel: MemoryChannel, job: Callable[..., JobFolder], tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    rounds: list[Request] = []

    def abort_in_round_2(request: Request) -> None:
        rounds.extend([request] * is_training(request))
        if len(rounds) == 2:
            raise JobAborted("the job was stopped")

    channel.on_request = abort_in_round_2
    aborted = job()
    run_job(aborted, channel)
    assert aborted.outcome is None
    channel.on_request = lambda request: None
    again = job(resume=True)
    run_job(again, channel)
    assert again.outcome is not None
    assert again.outcome.error is None
    train_at(open_sites(tmp_path / "other", tmp_path / "data"), settings_of("fedavg"), tmp_path / "whole")
    assert outcome(tmp_path / "run")[2] == outcome(tmp_path / "whole")[2]


def test_a_job_that_loses_its_quorum_says_so(channel: MemoryChannel, job: Callable[..., JobFolder]) -> None:
    def lose(request: Request) -> None:
        channel.silent = {"paris", "rome"} if is_training(request) else set()

    channel.on_request = lose
    stopped = job(min_sites=2)
    run_job(stopped, channel)
    assert stopped.outcome is not None
    assert stopped.outcome.quorum_lost
    assert list(stopped.lost) == ["paris", "rome"]


def test_one_process_at_a_time_works_on_a_run_at_a_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_runs, "LOCK_TIMEOUT", 0.1)
    first, second = (SiteRun.of(tmp_path, "0" * 32) for _ in range(2))
    with first.held(), pytest.raises(FederationError, match="an earlier job still works on this run"), second.held():
        pass
    with second.held():
        pass

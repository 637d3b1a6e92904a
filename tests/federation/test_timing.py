"""The measurements inside a job: what is measured, and that a normal job has nothing of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fedbbpt import registry
from fedbbpt.federation.job_folder import Job, JobFolder
from fedbbpt.federation.messages import Request
from fedbbpt.federation.server_job import run_job
from fedbbpt.federation.site_host import ECHO
from tests.federation.in_memory import Colours, MemoryChannel, open_sites, write_images

SITES = ("berlin", "paris")
SETTINGS: dict[str, Any] = {
    "rounds": 2,
    "data": {"shots_per_class": 3, "validation_shots_per_class": 2},
    "engine": {"name": "nvflare", "federation": "x"},
}


class Echoing(MemoryChannel):
    """A channel in memory that sends messages back, or something else."""

    echoed: tuple[int, ...] = ()  # bytes of each message, for each site
    wrong = False

    def echo(self, content: bytes, sites: Sequence[str], timeout: float) -> bool:
        """See `EchoingChannel`."""
        self.echoed += (len(content),) * len(sites)
        return not self.wrong


@pytest.fixture
def channel(tmp_path: Path) -> Echoing:
    registry.register("backends", "colours", Colours)
    return Echoing(open_sites(tmp_path / "kits", write_images(tmp_path / "data", SITES)).hosts)


def submitted(tmp_path: Path, name: str, **job: Any) -> JobFolder:
    settings = {"sites": list(SITES), "out": str(tmp_path / name), "resume": False, "settings": SETTINGS}
    return JobFolder.new(tmp_path, Job(**settings, **job))


def test_a_job_measures_its_exchanges_and_requests(channel: Echoing, tmp_path: Path) -> None:
    folder = submitted(tmp_path, "run", timed_exchanges=4)
    run_job(folder, channel)
    assert folder.outcome is not None
    assert folder.outcome.error is None
    timing = folder.timing
    assert len(timing.echoes) == len(timing.exchanges) == 4
    assert all(seconds > 0.0 for seconds in timing.echoes + timing.exchanges + timing.large_echoes)
    kinds = [request.kind for request in timing.requests]
    assert kinds[:2] == ["describe", "open"]
    assert kinds.count("save") == 3  # the start and two rounds
    sent = [content for _, content in channel.requests]
    trained = next(request for request in timing.requests if request.handler == "train")
    assert trained.sites == 2
    assert trained.bytes_down in {len(content) for content in sent}
    assert trained.bytes_up > 0


def test_echo_and_exchange_are_of_the_same_size(channel: Echoing, tmp_path: Path) -> None:
    run_job(submitted(tmp_path, "run", timed_exchanges=1), channel)
    small = min(channel.echoed)
    requests = [(content, Request.from_bytes(content)) for _, content in channel.requests]
    exchanged = [len(content) for content, request in requests if request.fields.get("handler") == ECHO]
    assert set(exchanged) == {small}
    assert len(exchanged) == sum(size == small for size in channel.echoed)


def test_measuring_changes_no_bit_of_a_run(channel: Echoing, tmp_path: Path) -> None:
    for name, exchanges in (("plain", 0), ("measured", 2)):
        run_job(submitted(tmp_path, name, timed_exchanges=exchanges), channel)
    plain, measured = ((tmp_path / name / "checkpoints").glob("*.safetensors") for name in ("plain", "measured"))
    contents = [sorted((path.name, path.read_bytes()) for path in paths) for paths in (plain, measured)]
    assert contents[0]
    assert contents[0] == contents[1]


def test_a_normal_job_measures_nothing(channel: Echoing, tmp_path: Path) -> None:
    folder = submitted(tmp_path, "run")
    run_job(folder, channel)
    assert not channel.echoed
    assert sorted(path.name for path in folder.folder.iterdir()) == [
        "activity.json",
        "job.json",
        "outcome.json",
        "progress.txt",
    ]


def test_a_message_that_does_not_come_back_is_an_error(channel: Echoing, tmp_path: Path) -> None:
    channel.wrong = True
    folder = submitted(tmp_path, "run", timed_exchanges=1)
    run_job(folder, channel)
    assert folder.outcome is not None
    assert "sent back" in str(folder.outcome.error)

"""The server's half and the sites' of a run, over a channel in memory: the same as a simulation."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.backend import Provider
from fedbbpt.config import make_config
from fedbbpt.errors import FederationError, RunError
from fedbbpt.federation.channel import QuorumLost
from fedbbpt.federation.job_folder import Job, JobFolder, Outcome
from fedbbpt.federation.messages import Request
from fedbbpt.federation.server import resume_run, train_run
from fedbbpt.federation.server_job import run_job
from fedbbpt.run import train
from fedbbpt.run.callback import Callback
from tests.federation.in_memory import (
    Colours,
    MemoryChannel,
    Messages,
    Reader,
    open_sites,
    without_places,
    write_images,
    write_texts,
)

SITES = ("berlin", "paris", "rome")
SETTINGS: dict[str, Any] = {"rounds": 3, "data": {"shots_per_class": 3, "validation_shots_per_class": 2}}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "ensemble": {},
    "fedavg": {"algorithm": {"name": "fedavg"}, "optimizer": {"name": "spsa-gc"}},
    "fedavg-some": {"algorithm": {"name": "fedavg", "clients_per_round": 2, "upload": "parameters"}},
    "fedbpt": {"algorithm": {"name": "fedbpt"}},
    "local": {"algorithm": {"name": "local"}},
    "gossip": {"algorithm": {"name": "gossip", "topology": "ring", "gossip_steps": 2}},
    "flood": {"algorithm": {"name": "flood", "topology": "star"}},
}
BDPL: dict[str, Any] = {
    "rounds": 2,
    "data": {"shots_per_class": 8},
    "prompt": {"name": "discrete", "num_tokens": 3, "vocabulary_size": 8},
    "readout": {"name": "identity"},
    "optimizer": {"name": "bdpl"},
}


@pytest.fixture(autouse=True)
def backends() -> None:
    registry.register("backends", "colours", Colours)
    registry.register("backends", "reader", Reader)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", SITES)


def settings_of(name: str, **engine: Any) -> dict[str, Any]:
    return SETTINGS | ALGORITHMS[name] | {"engine": {"name": "nvflare", "federation": "x", **engine}}


def train_at(channel: MemoryChannel, settings: dict[str, Any], out: Path, callback: Callback | None = None) -> None:
    out.mkdir(exist_ok=True)
    train_run(channel, settings, None, out, callback or Callback())


def simulate(data: Path, name: str, out: Path) -> None:
    settings = SETTINGS | ALGORITHMS[name] | {"task": {"name": f"sites:{data}"}, "backend": {"name": "colours"}}
    out.mkdir()
    train.train(make_config(settings), out)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_federation_ends_with_the_bits_queries_and_bytes_of_a_simulation(
    name: str, data: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    train_at(open_sites(tmp_path / "kits", data), settings_of(name), tmp_path / "sites")
    simulate(data, name, tmp_path / "simulation")
    assert without_places(outcome(tmp_path / "sites")) == without_places(outcome(tmp_path / "simulation"))
    assert (tmp_path / "sites" / "report.html").exists()


def test_what_a_site_found_out_about_its_model_holds_for_the_whole_run(data: Path, tmp_path: Path) -> None:
    opened = []

    class Automatic(Colours):
        """Decides what "auto" means anew each time."""

        def __init__(self, provider: Provider, /, *, dtype: str = "auto") -> None:
            super().__init__(provider)
            opened.append(dtype)
            found = f"dtype {len(opened)}" if dtype == "auto" else dtype
            self.info = replace(self.info, resolved={"dtype": found})

    registry.register("backends", "colours", Automatic)
    shutil.rmtree(data / "paris")
    shutil.rmtree(data / "rome")
    with pytest.raises(KeyboardInterrupt):
        train_at(open_sites(tmp_path / "kits", data), settings_of("fedavg"), tmp_path / "run", Messages(1))
    resume_run(open_sites(tmp_path / "kits", data), tmp_path / "run", Callback())
    train_at(open_sites(tmp_path / "kits", data), settings_of("fedavg"), tmp_path / "another")
    assert opened == ["auto", "dtype 1", "auto"]


@pytest.mark.parametrize("name", ["ensemble", "local", "gossip", "flood"])
@pytest.mark.parametrize("stop_after", [0, 2])
def test_a_stopped_run_resumes_with_the_same_bits(
    name: str, stop_after: int, data: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    train_at(open_sites(tmp_path / "kits", data), settings_of(name), tmp_path / "whole")
    kits = tmp_path / "other"
    with pytest.raises(KeyboardInterrupt):
        train_at(open_sites(kits, data), settings_of(name), tmp_path / "stopped", Messages(stop_after))
    resume_run(open_sites(kits, data), tmp_path / "stopped", Callback())  # all sites were started anew
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")


def test_a_site_that_is_away_is_named_and_misses_the_rounds_until_it_answers(data: Path, tmp_path: Path) -> None:
    channel, messages, calls = open_sites(tmp_path / "kits", data), Messages(), []

    def on_request(request: Request) -> None:
        trains = request.kind == "call" and request.fields["handler"] == "train"
        calls.extend([request] * trains)
        channel.silent = {"paris"} if trains and len(calls) == 2 else set()

    channel.on_request = on_request
    train_at(channel, settings_of("fedavg", min_sites=2), tmp_path / "run", messages)
    assert "paris dropped out of round 2 (it did not answer in time); its update is missing" in messages.texts
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row.get("dropped_clients") for row in rows] == [None, None, ["paris"], None, None]
    assert not (tmp_path / "run" / "checkpoints" / "clients").exists()


def test_a_run_without_a_quorum_stops_and_goes_on_when_the_sites_are_back(
    data: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    channel, calls = open_sites(tmp_path / "kits", data), []

    def on_request(request: Request) -> None:
        if request.kind == "call" and request.fields["handler"] == "train":
            calls.append(request)
            channel.silent = {"paris", "rome"} if len(calls) == 2 else set()

    channel.on_request = on_request
    with pytest.raises(QuorumLost, match=r"1 of 3 sites answered, and min_sites=2 have to .*paris: .*--resume"):
        train_at(channel, settings_of("fedavg", min_sites=2), tmp_path / "run")
    resume_run(open_sites(tmp_path / "kits", data), tmp_path / "run", Callback())
    train_at(open_sites(tmp_path / "other", data), settings_of("fedavg", min_sites=2), tmp_path / "whole")
    assert outcome(tmp_path / "run")[2] == outcome(tmp_path / "whole")[2]


def test_sites_that_hold_other_data_than_at_the_start_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_at(open_sites(tmp_path / "kits", data), settings_of("fedavg"), tmp_path / "run", Messages(1))
    image = data / "rome" / "red" / "0.png"
    image.write_bytes((data / "rome" / "blue" / "1.png").read_bytes())
    with pytest.raises(RunError, match="the data or the model of rome have changed since the run began"):
        resume_run(open_sites(tmp_path / "kits", data), tmp_path / "run", Callback())


def test_a_policy_refuses_what_is_beyond_it_before_the_first_query(data: Path, tmp_path: Path) -> None:
    messages = Messages()
    channel = open_sites(tmp_path / "kits", data, max_queries=10)
    with pytest.raises(
        FederationError, match=r"0 of the sites take part.*berlin: this site.s policy has max_queries = 10"
    ):
        train_at(channel, settings_of("fedavg"), tmp_path / "run", messages)
    assert not (tmp_path / "run" / "config.toml").exists()


def test_the_server_sees_no_number_of_a_sites_images(data: Path, tmp_path: Path) -> None:
    channel = open_sites(tmp_path / "kits", data)
    train_at(channel, settings_of("ensemble"), tmp_path / "run")
    host = channel.hosts["rome"]._hosts.here()
    images = host.clients["rome"].train.batch(slice(None)).inputs
    pieces = {row.tobytes() for row in images.astype(np.float32).reshape(-1, 8)}
    pieces |= {row.tobytes() for row in (images * 255).round().astype(np.uint8).reshape(-1, 8)}
    seen = [content for _, content in channel.responses]
    seen += [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(seen) > 20
    assert not [piece for piece in pieces for content in seen if piece in content]


def test_an_error_at_a_site_tells_the_server_no_path(data: Path, tmp_path: Path) -> None:
    channel = open_sites(tmp_path / "kits", data)
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(FederationError, match="its log says why"):
        train_at(channel, settings_of("fedavg"), tmp_path / "run")
    assert channel.responses
    assert not [content for _, content in channel.responses if str(tmp_path).encode() in content]


def test_words_are_learned_from_sites_that_allow_it_with_the_bits_of_a_simulation(
    tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    data = write_texts(tmp_path / "data", SITES)
    settings = BDPL | {"engine": {"name": "nvflare", "federation": "x"}}
    refusing = open_sites(tmp_path / "refusing", data)
    with pytest.raises(FederationError, match="share_words = false, and the job asks for the counts of the words"):
        train_at(refusing, settings, tmp_path / "refused")
    train_at(open_sites(tmp_path / "kits", data, share_words=True), settings, tmp_path / "sites")
    (tmp_path / "simulation").mkdir()
    task = {"task": {"name": f"sites:{data}"}, "backend": {"name": "reader"}}
    train.train(make_config(BDPL | task), tmp_path / "simulation")
    assert without_places(outcome(tmp_path / "sites")) == without_places(outcome(tmp_path / "simulation"))


def test_a_job_notes_what_its_sites_do_and_who_is_lost(data: Path, tmp_path: Path) -> None:
    channel = open_sites(tmp_path / "kits", data)
    settings = settings_of("fedavg")
    job = Job(sites=list(SITES), out=str(tmp_path / "run"), resume=False, settings=settings)
    folder = JobFolder.new(tmp_path / "server", job)
    (tmp_path / "run").mkdir()
    noted = []

    def on_request(request: Request) -> None:
        working = JobFolder.working(tmp_path / "server")
        noted.append((request.kind, working and working.activity.doing.get("rome")))
        channel.silent = {"rome"} if request.kind == "result" else set()

    channel.on_request = on_request
    run_job(folder, channel)
    assert ("call", "train") in noted
    assert ("call", "evaluate") in noted
    assert folder.activity.backends == dict.fromkeys(SITES, "colours")
    assert folder.outcome == Outcome()
    assert list(folder.lost) == ["rome"]
    assert JobFolder.working(tmp_path / "server") is None
    assert "test accuracy" in folder.progress.read_text()

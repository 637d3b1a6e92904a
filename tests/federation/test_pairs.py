"""Sites compare the run with its baselines on their own test examples, and send counts alone."""

from typing import Any

from fedbbpt.federation.messages import Request
from fedbbpt.federation.server import train_run
from fedbbpt.run.callback import Callback
from fedbbpt.run.environment import read_results
from fedbbpt.run.finished import open_finished
from fedbbpt.run.report.page import write_report
from fedbbpt.types import Message

SETTINGS = {"rounds": 1, "data": {"shots_per_class": 3, "validation_shots_per_class": 2}}
ENGINE = {"engine": {"name": "nvflare", "federation": "x"}}


def test_a_site_that_lost_its_memory_reports_no_pair(sites, tmp_path) -> None:
    channel, out = sites(), tmp_path / "run"

    def on_request(request: Request) -> None:
        if request.kind == "call" and request.fields["handler"] == "evaluate":
            about: Any = request.fields["algorithm"], Message.from_bytes(request.content).subset
            if about == ("tuned", "test"):
                channel.hosts["oslo"]._memory.replace({})

    channel.on_request = on_request
    out.mkdir()
    train_run(channel, SETTINGS | ENGINE, None, out, Callback())
    summary, _ = read_results(out)
    others = sum(sum(client["test"]) for name, client in summary["clients"].items() if name != "oslo")
    assert {paired["examples"] for paired in summary["paired"].values()} == {others}
    assert not (out / "clients").exists()  # no site's examples


def test_the_report_of_a_federation_is_written_again_without_its_sites(sites, tmp_path) -> None:
    (out := tmp_path / "run").mkdir()
    train_run(sites(), SETTINGS | ENGINE, None, out, Callback())
    before = (out / "report.html").read_bytes()
    assert write_report(out, *open_finished(out)).read_bytes() == before

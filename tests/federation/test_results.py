"""At the end of a run its sites get the result, and each can predict with it and the model that it names itself."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedbbpt import registry
from fedbbpt.cli import main
from fedbbpt.federation.kits import KitDescription, write_description
from fedbbpt.federation.server import resume_run, train_run
from fedbbpt.run.callback import Callback
from fedbbpt.run.resume import read_run
from tests.federation.in_memory import Colours, MemoryChannel, open_sites, write_images

SITES = ("berlin", "rome")
SETTINGS = {
    "rounds": 1,
    "algorithm": {"name": "fedavg"},
    "data": {"shots_per_class": 3, "validation_shots_per_class": 2},
    "engine": {"name": "nvflare", "federation": "x"},
}


class Sentences(Callback):
    """Keeps the sentences for the user."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str) -> None:
        """See `Callback`."""
        self.texts.append(text)


class PrivateColours(Colours):
    """The same model, whose batch size is its owner's secret."""

    private_options = ("max_batch",)


@pytest.fixture
def channel(tmp_path: Path) -> MemoryChannel:
    """Two sites, each with the kit of a site, whose own model reads 5 images at a time."""
    registry.register("backends", "colours", PrivateColours)
    channel = open_sites(tmp_path / "kits", write_images(tmp_path / "data", SITES))
    for site in SITES:
        kit = tmp_path / "kits" / site
        write_description(kit, KitDescription("study", "site", site, "127.0.0.1", 1))
        (kit / "site.toml").write_text((kit / "site.toml").read_text().replace("max_batch = 16", "max_batch = 5"))
    return channel


def trained(channel: MemoryChannel, out: Path) -> Sentences:
    sentences = Sentences()
    out.mkdir()
    train_run(channel, SETTINGS, None, out, sentences)
    return sentences


def fetch(*arguments: str | Path) -> str:
    """What the command says; an error begins with "Error: "."""
    return CliRunner().invoke(main, ["federation", "fetch", *map(str, arguments)]).output


def test_a_site_predicts_with_the_result_and_its_own_model(channel: MemoryChannel, tmp_path: Path) -> None:
    sentences = trained(channel, tmp_path / "run")
    assert "berlin, rome can take the result with fedbbpt federation fetch" in sentences.texts
    kit, out = tmp_path / "kits" / "rome", tmp_path / "fetched"
    assert f"to {out}; report.html in it shows it." in fetch(kit, "--out", out)
    (kept,) = (kit / "runs").glob("*/result")
    assert read_run(kept)[0].backend.options == {"max_batch": 16}  # the default: the server does not know the site's
    assert read_run(out)[0].backend.options == {"max_batch": 5}
    images = sorted((tmp_path / "data" / "rome").glob("*/0.png"))
    fetched = CliRunner().invoke(main, ["predict", str(out), *map(str, images)])
    server = CliRunner().invoke(main, ["predict", str(tmp_path / "run"), *map(str, images)])
    assert [line.split("\t")[1] for line in fetched.stdout.splitlines()] == ["blue", "green", "red"]
    assert fetched.stdout == server.stdout
    assert (out / "report.html").read_bytes() == (tmp_path / "run" / "report.html").read_bytes()


def test_a_site_that_was_away_gets_the_result_when_the_finished_run_is_resumed(
    channel: MemoryChannel, tmp_path: Path
) -> None:
    channel.on_request = lambda request: channel.silent.update({"rome"} if request.kind == "result" else ())
    run = tmp_path / "run"
    sentences = trained(channel, run)
    assert sentences.texts == [
        f"rome has not got the result (it did not answer in time); fedbbpt train --resume {run} hands it out again",
        "berlin can take the result with fedbbpt federation fetch",
    ]
    kit = tmp_path / "kits" / "rome"
    shutil.rmtree(kit / "runs")  # it has another disk now
    assert fetch(kit).startswith(f"Error: the kit {kit} holds no result: the server hands it out when a run ends")

    again = open_sites(tmp_path / "kits", tmp_path / "data")
    resume_run(again, run, sentences)
    assert [site for site, _ in again.requests] == ["berlin", "rome"]  # nothing but the result: no query is asked again
    assert sentences.texts[-1] == "berlin, rome can take the result with fedbbpt federation fetch"
    assert fetch(kit, "--out", tmp_path / "fetched").startswith("Copied the result of run ")


def test_of_several_results_one_is_named(channel: MemoryChannel, tmp_path: Path) -> None:
    for name in ("one", "two"):
        trained(channel, tmp_path / name)
    kit = tmp_path / "kits" / "rome"
    first, second = (folder.parent.name for folder in (kit / "runs").glob("*/result"))
    said = fetch(kit)
    assert said.startswith(f"Error: the kit {kit} holds 2 results: name one of ")
    assert first[:8] in said
    assert second[:8] in said
    assert f"Copied the result of run {second} " in fetch(kit, second[:8], "--out", tmp_path / "fetched")
    assert "holds no result of a run zzz" in fetch(kit, "zzz")


@pytest.mark.parametrize("file", ["config.toml", "summary.json", "metrics.jsonl", "environment.json", "checkpoint"])
def test_a_damaged_result_is_refused(file: str, channel: MemoryChannel, tmp_path: Path) -> None:
    trained(channel, tmp_path / "run")
    kit = tmp_path / "kits" / "rome"
    (result,) = (kit / "runs").glob("*/result")
    path = result / file if file != "checkpoint" else max((result / "checkpoints").glob("*.safetensors"))
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    said = fetch(kit, "--out", tmp_path / "fetched")
    assert said == (
        f"Error: the result {result} is damaged or cannot be read; the server hands it out again with fedbbpt train "
        "--resume there\n"
    )
    assert not (tmp_path / "fetched").exists()


def test_a_site_that_names_another_model_is_refused(channel: MemoryChannel, tmp_path: Path) -> None:
    trained(channel, tmp_path / "run")
    kit = tmp_path / "kits" / "rome"
    text = (kit / "site.toml").read_text()
    (kit / "site.toml").write_text(text.replace('"colours"', '"local-vit"').replace("max_batch = 5", ""))
    assert "Error: the run queried colours, and " in fetch(kit, "--out", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()

"""`fedbbpt federation demo`: it trains with real processes, and none of them outlives it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from fedbbpt.cli import main
from fedbbpt.errors import FederationError
from fedbbpt.federation.demo_members import Members
from fedbbpt.federation.watcher import MARK

pytestmark = pytest.mark.timeout(600)
PROGRAM = [sys.executable, "-u", "-m", "fedbbpt", "federation", "demo", "--out"]


def left_behind(folder: Path) -> list[str]:
    """The command lines of processes that belong to a demo's folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(folder) in " ".join(process.cmdline()) or str(folder) in process.environ().get(MARK, ""):
                found.append(" ".join(process.cmdline()))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a demo; whatever the test did, no process is left in the end."""
    yield tmp_path / "demo"
    assert left_behind(tmp_path / "demo") == []


def test_two_sites_train_better_than_the_model_alone_and_use_the_result(folder: Path) -> None:
    done = subprocess.run([*PROGRAM, str(folder), "--sites", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert sorted(summary["clients"]) == ["site-1", "site-2"]
    assert summary["test_accuracy"] > summary["zero_shot_accuracy"]

    costs = json.loads((folder / "demo.json").read_text())
    programs = [(process["member"], process["program"]) for process in costs["processes"]]
    assert len(programs) == 1 + 3 + 2 * 4
    assert len(set(programs)) == len(programs)
    assert 100e6 < costs["memory"] == sum(process["memory"] for process in costs["processes"])
    assert f"report         {folder / 'run' / 'report.html'}" in done.stdout

    dealt = [{path.name for path in (folder / "data" / site).rglob("*.png")} for site in ("site-1", "site-2")]
    assert len(dealt[0] | dealt[1]) == 1797
    assert not dealt[0] & dealt[1]

    kit = folder / "federation" / "sites" / "site-1"
    fetched = CliRunner().invoke(main, ["federation", "fetch", str(kit), "--out", str(folder / "fetched")])
    assert fetched.exit_code == 0, fetched.output
    images = sorted((folder / "data" / "site-1").rglob("*.png"))[::15]
    ours, theirs = (
        CliRunner().invoke(main, ["predict", str(folder / run), *map(str, images)]).stdout for run in ("fetched", "run")
    )
    assert ours == theirs
    predicted = [line.split("\t")[1] for line in ours.splitlines()]
    right = [label == image.parent.name for label, image in zip(predicted, images, strict=True)]
    assert sum(right) > 0.8 * len(images)


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_it_takes_all_processes_along_when_it_is_stopped(signal_: signal.Signals, folder: Path) -> None:
    demo = subprocess.Popen(
        [*PROGRAM, str(folder), "--sites", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    assert any(line.startswith("site-1 ") for line in demo.stdout)
    assert len(left_behind(folder)) >= 3  # the demo, the server and the site
    demo.send_signal(signal_)
    _, said = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert f"Stopped; all processes have ended. {folder} holds what there is." in said


def test_a_member_that_ends_early_ends_the_demo_with_its_own_sentence(tmp_path: Path) -> None:
    shown: list[str] = []
    with Members(tmp_path, shown.append) as members:
        members.start("site-1", "federation", "join", "nowhere")
        with pytest.raises(FederationError, match="site-1 has ended early: there is no kit in nowhere"):
            members.wait_until(lambda: False, "nothing happens")
    assert shown == [f"{'site-1':15}fedbbpt federation join nowhere"]


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    refused = CliRunner().invoke(main, ["federation", "demo", "--out", str(tmp_path)])
    assert refused.output == f"Error: {tmp_path} is not empty; choose another --out\n"

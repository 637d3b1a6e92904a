"""A model whose body is another process: `fedbbpt serve-body` and `fedbbpt train --algorithm sfprompt`."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.federation.in_memory import BYTES_OF_A_PAIR

EXAMPLE = Path(__file__).parents[2] / "examples" / "split_vit.py"
Fedbbpt = Callable[..., Any]
Started = Callable[..., "subprocess.Popen[str]"]
RUN = ["--algorithm", "sfprompt", "--clients", "2", "--shots-per-class", "1", "--rounds", "2"]
RUN += ["-o", "data.validation_shots_per_class=1", "-o", "data.test_limit=20"]


class Server:
    """The body on a port of this machine, which stays the same unless it is moved."""

    def __init__(self, started: Started) -> None:
        self._started, self._port = started, "0"
        self.start()

    def move(self) -> None:
        """To another port."""
        before, self._port = self.url, "0"
        assert "Traceback" not in self.end(signal.SIGINT)
        self.start()
        assert self.url != before

    def start(self) -> None:
        self._process = self._started("serve-body", "--backend", "local-vit", "--port", self._port)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._port = self.url.rpartition(":")[2]

    def end(self, how: signal.Signals) -> str:
        self._process.send_signal(how)
        return "".join(self._process.communicate(timeout=30))

    def metrics(self, name: str) -> list[str]:
        """The lines about something."""
        return [line for line in requests.get(f"{self.url}/metrics", timeout=10).text.splitlines() if name in line]

    def queries(self) -> int:
        """Since it was started."""
        return int(float(self.metrics("fedbbpt_queries_total")[-1].split()[1]))

    @property
    def option(self) -> str:
        return f"algorithm.body_url={self.url}"


@pytest.fixture(scope="module")
def server(started: Started) -> Iterator[Server]:
    """A body that is served to all tests, some of which move it or start it again."""
    running = Server(started)
    yield running
    assert "Traceback" not in running.end(signal.SIGINT)


@pytest.fixture(scope="module")
def whole(in_process: Fedbbpt, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in one process."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    in_process("train", *RUN, "--out", folder, check=True)
    return folder


def parameters(run: Path) -> dict[str, bytes]:
    """Those of all rounds that are kept."""
    kept = {path.name: path.read_bytes() for path in (run / "checkpoints").glob("*.safetensors")}
    assert len(kept) == 2
    return kept


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def test_two_processes_come_to_the_same_bits_as_one(
    in_process: Fedbbpt, server: Server, whole: Path, tmp_path: Path
) -> None:
    run = ["train", *RUN, "-o", server.option]
    before, asked_before = server.queries(), server.metrics("/v1/split")
    planned = in_process(*run, "--dry-run", check=True).stdout
    assert server.metrics("/v1/split") == asked_before  # a plan does not need the server
    in_process(*run, "--out", tmp_path / "run", check=True)
    assert parameters(tmp_path / "run") == parameters(whole)
    here, there = summary_of(whole), summary_of(tmp_path / "run")
    assert f"{there['queries']:,} queries in" in planned.splitlines()[-3]
    assert there["queries"] == server.queries() - before == here["queries"] - here["queries_by_purpose"]["baseline"]
    assert there["confusion"]["test"] == here["confusion"]["test"]
    assert there["test_accuracy"] == here["test_accuracy"]
    baselines = here["baseline_traffic"]  # without the whole model there are none
    assert all(there[key] == here[key] - baselines[key] for key in ("bytes_down", "exchanges"))
    pairs = here["bytes_up"] - baselines["bytes_up"] - there["bytes_up"]  # how its test scores differ from theirs
    assert 0 < pairs <= BYTES_OF_A_PAIR * len(here["clients"])
    assert (there["zero_shot_accuracy"], there["confusion"]["zero_shot"]) == (None, None)
    assert "because a server holds the body" in (tmp_path / "run" / "report.html").read_text()
    assert f"test accuracy  {there['test_accuracy']:.3f}" in in_process("eval", tmp_path / "run", check=True).stdout


def test_a_client_that_is_stopped_goes_on_to_the_same_bits_with_a_server_that_has_moved(
    in_process: Fedbbpt, interrupted: Callable[..., str], server: Server, whole: Path, tmp_path: Path
) -> None:
    interrupted("train", *RUN, "-o", server.option, "--out", tmp_path / "run", at="round    1/2")
    server.move()
    in_process("train", "--resume", tmp_path / "run", "-o", server.option, check=True)
    assert parameters(tmp_path / "run") == parameters(whole)


def test_a_server_that_is_killed_and_started_again_is_waited_for(
    started: Started, server: Server, whole: Path, tmp_path: Path
) -> None:
    client = started("train", *RUN, "-o", server.option, "--out", tmp_path / "run")
    assert client.stdout is not None
    for line in client.stdout:
        if "round    1/2" in line:
            break
    server.end(signal.SIGKILL)
    server.start()
    assert server.queries() < summary_of(whole)["queries"]
    out, errors = client.communicate(timeout=120)
    assert client.returncode == 0, out + errors
    assert parameters(tmp_path / "run") == parameters(whole)
    assert server.queries()  # what was left


def test_a_body_that_was_cut_elsewhere_is_refused(in_process: Fedbbpt, server: Server, tmp_path: Path) -> None:
    refused = in_process("train", *RUN, "-o", server.option, "-o", "algorithm.head_blocks=2", "--out", tmp_path / "run")
    assert refused.returncode == 1
    assert "algorithm.head_blocks=2 and algorithm.tail_blocks=1: start one of the two" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_more_blocks_than_there_are_cannot_be_left_out(in_process: Fedbbpt) -> None:
    refused = in_process("serve-body", "--backend", "local-vit", "--head-blocks", 8, "--port", 0)
    assert refused.returncode == 1
    assert "has 8 blocks" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_example_shows_the_same_bits_and_leaves_no_process() -> None:
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True)
    assert done.stdout.count("equal bit for bit") == 3
    assert "DIFFERENT" not in done.stdout
    url = done.stdout.splitlines()[0].rpartition(" ")[2]
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)

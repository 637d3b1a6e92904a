"""Backends behind `fedbbpt serve`, each in a process of its own, and runs that ask them over HTTP."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

TOKEN = "hush-0123456789-do-not-tell"
RUN = [
    "rounds=3",
    "algorithm.name=ensemble",
    "algorithm.num_prompts=3",
    "data.test_limit=30",
    "data.validation_shots_per_class=3",
    "optimizer.population_size=3",
    "prompt.name=instruction",
    "readout.l2=0.05",
]


def _environment(site: Path, cache: Path) -> dict[str, str]:
    secrets = {"FEDBBPT_TOKEN": TOKEN, "OPENAI_API_KEY": TOKEN}
    return os.environ | secrets | {"PYTHONPATH": str(site), "FEDBBPT_CACHE": str(cache)}


def _train(env: dict[str, str], *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fedbbpt", "train", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def _options(section: str, *settings: str) -> list[str]:
    return [word for setting in settings for word in ("-o", f"{section}{setting}")]


@pytest.fixture(scope="session")
def token() -> str:
    """The token of the services, which nobody else may see."""
    return TOKEN


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backends, "letters" and "colours", installed beside the package, and a table of reviews."""
    folder = tmp_path_factory.mktemp("backends")
    shutil.copy(Path(__file__).with_name("served_backends.py"), folder)
    info = folder / "served_backends-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: served-backends\nVersion: 1.0\n")
    names = "letters = served_backends:Letters\ncolours = served_backends:Colours\n"
    (info / "entry_points.txt").write_text(f"[fedbbpt.backends]\n{names}")
    rows = [f"a {('bright', 'dull')[i % 2]} film number {i},{('good', 'bad')[i % 2]}" for i in range(200)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    return folder


@pytest.fixture
def environment(site: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a run: the backends, the token, and a cache of its own."""
    return _environment(site, tmp_path / "cache")


@pytest.fixture
def serve(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], str]]:
    """`serve(backend, task)`: the URL of a service that runs until the test ends."""
    processes: list[subprocess.Popen[str]] = []

    def start(backend: str, task: str) -> str:
        command = [sys.executable, "-u", "-m", "fedbbpt", "serve", "--backend", backend, "--task", task, "--port", "0"]
        env = _environment(site, tmp_path_factory.mktemp("serving"))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        processes.append(process)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url + process.stdout.read()
        return url

    yield start
    for process in processes:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert "Traceback" not in output
        assert TOKEN not in output


@pytest.fixture
def letters_url(serve: Callable[[str, str], str], site: Path) -> str:
    """The URL of "letters", served for the reviews."""
    return serve("letters", f"csv:{site / 'reviews.csv'}")


@pytest.fixture
def train(environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs `fedbbpt train` with a cache of its own."""
    return partial(_train, environment)


@pytest.fixture(scope="session")
def reviews(site: Path) -> list[str]:
    """Options of a run on the reviews."""
    task = ["--task", f"csv:{site / 'reviews.csv'}", "--clients", "3", "--shots-per-class", "6"]
    return [*task, *_options("", *RUN)]


@pytest.fixture(scope="session")
def through_openai() -> Callable[..., list[str]]:
    """`through_openai(url, *settings)`: options of a run that asks a service through its OpenAI API."""
    return lambda url, *settings: ["--backend", "openai", *_options("backend.", f"base_url={url}/v1", *settings)]


@pytest.fixture(scope="session")
def letters(through_openai: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """`letters(url, api, *settings)`: the same for "letters", through "completions" or "chat"."""
    return lambda url, api, *settings: through_openai(url, "model=letters", "template={text}", f"api={api}", *settings)


@pytest.fixture(scope="session")
def undisturbed(site: Path, reviews: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on the reviews with "letters" in its own process. Read only."""
    folder = tmp_path_factory.mktemp("undisturbed")
    _train(_environment(site, folder / "cache"), "--backend", "letters", *reviews, "--out", folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def metrics() -> Callable[[str], dict[str, float]]:
    """`metrics(url)`: what the service has counted."""

    def read(url: str) -> dict[str, float]:
        request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request) as response:
            rows = [row.rpartition(" ") for row in response.read().decode().splitlines() if not row.startswith("#")]
        return {name: float(value) for name, _, value in rows}

    return read


@pytest.fixture(scope="session")
def parameters() -> Callable[[Path], bytes]:
    """`parameters(run)`: those after the last round."""
    return lambda run: max((run / "checkpoints").glob("*.safetensors")).read_bytes()


@pytest.fixture(scope="session")
def summary() -> Callable[[Path], Any]:
    """`summary(run)`: its results, and under "billed" what the service was paid for."""
    return lambda run: json.loads((run / "summary.json").read_text())

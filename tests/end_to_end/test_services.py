"""A model behind `fedbbpt serve`, asked over real HTTP: the same bits as in the own process, whatever goes wrong."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fedbbpt_benchmarks.experiments.fault_proxy import KINDS, FaultProxy

TOKEN = "hush-0123456789-do-not-tell"
BACKENDS = """
from zlib import crc32

import numpy as np

from fedbbpt.backend import BackendOutput, Backend, BackendInfo


def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return (x - np.log(np.exp(x).sum(1, keepdims=True))).astype(np.float32)


class Letters(Backend):
    '''Reads a text whole; one input's answer does not depend on the others.'''

    modalities = ("text",)

    def __init__(self, provider, /):
        self.info = BackendInfo("letters", None, provider.classes, "log-probabilities", 64)

    def query(self, inputs):
        noise = [[crc32(f"{i}{text}".encode()) / 2**31 for i in range(len(self.info.classes))] for text in inputs]
        signal = [[2.0 * (word in text) for word in ("bright", "dull")] for text in inputs]
        return BackendOutput(log_softmax(np.array(noise) + np.array(signal)), sum(map(len, inputs)))


class Colours(Backend):
    '''Sees a picture in 8 bits.'''

    modalities = ("image",)

    def __init__(self, provider, /):
        self.info = BackendInfo("colours", (8, 8), provider.classes, "log-probabilities", 64)

    def query(self, inputs):
        eight = (inputs * 255).round() / np.float32(255)
        weights = np.random.default_rng(0).normal(size=(3 * 64, len(self.info.classes)))
        return BackendOutput(log_softmax(np.stack([image.ravel() @ weights for image in eight.astype(np.float64)])))
"""
Serve = Callable[..., str]
Train = Callable[..., "subprocess.CompletedProcess[str]"]
Outcome = Callable[[Path], Any]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backends, installed beside the package, and a table of reviews."""
    folder = tmp_path_factory.mktemp("backends")
    (folder / "little.py").write_text(BACKENDS)
    info = folder / "little-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: little\nVersion: 1.0\n")
    names = "letters = little:Letters\ncolours = little:Colours\n"
    (info / "entry_points.txt").write_text(f"[fedbbpt.backends]\n{names}")
    rows = [f"a {('bright', 'dull')[i % 2]} film number {i},{('good', 'bad')[i % 2]}" for i in range(200)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    return folder


def environment(site: Path, cache: Path) -> dict[str, str]:
    secrets = {"FEDBBPT_TOKEN": TOKEN, "OPENAI_API_KEY": TOKEN}
    return os.environ | secrets | {"PYTHONPATH": str(site), "FEDBBPT_CACHE": str(cache)}


@pytest.fixture(scope="module")
def serve(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Serves a backend; returns its URL."""
    running: dict[str, subprocess.Popen[str]] = {}

    def start(backend: str, task: str) -> str:
        command = [sys.executable, "-u", "-m", "fedbbpt", "serve", "--backend", backend, "--task", task, "--port", "0"]
        env = environment(site, tmp_path_factory.mktemp("serving"))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url + process.stdout.read()
        running[url] = process
        return url

    yield start
    for process in running.values():
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
        assert "Traceback" not in said
        assert TOKEN not in said


@pytest.fixture
def train(site: Path, tmp_path: Path) -> Train:
    """Runs `fedbbpt train` with a cache of its own."""

    return partial(trained, environment(site, tmp_path / "cache"))


def trained(env: dict[str, str], *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "fedbbpt", "train", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def texts(site: Path) -> list[str]:
    options = ["data.validation_shots_per_class=3", "data.test_limit=30", "prompt.name=instruction"]
    ensemble = [
        "rounds=3",
        "algorithm.name=ensemble",
        "algorithm.num_prompts=3",
        "optimizer.population_size=3",
        "readout.l2=0.05",
    ]
    task = ["--task", f"csv:{site / 'reviews.csv'}", "--clients", "3", "--shots-per-class", "6"]
    return [*task, *(word for option in (*options, *ensemble) for word in ("-o", option))]


def remote(url: str, api: str, *options: str) -> list[str]:
    settings = [f"base_url={url}/v1", "model=letters", f"api={api}", "template={text}", *options]
    return ["--backend", "openai", *(word for option in settings for word in ("-o", f"backend.{option}"))]


def counted(url: str) -> dict[str, float]:
    """What the service has counted."""
    asked = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(asked) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def parameters(run: Path) -> bytes:
    """Those after the last round."""
    return max((run / "checkpoints").glob("*.safetensors")).read_bytes()


def paid(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())["billed"]
    return found


@pytest.fixture(scope="module")
def undisturbed(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    trained(environment(site, folder / "cache"), "--backend", "letters", *texts(site), "--out", folder / "here")
    return folder / "here"


class TestBits:
    @pytest.mark.parametrize("api", ["completions", "chat"])
    def test_texts(
        self, api: str, site: Path, serve: Serve, train: Train, undisturbed: Path, outcome: Outcome, tmp_path: Path
    ) -> None:
        url = serve("letters", f"csv:{site / 'reviews.csv'}")
        train(*remote(url, api), *texts(site), "--out", tmp_path / "there")
        assert parameters(tmp_path / "there") == parameters(undisturbed)
        here, there = (json.loads((run / "summary.json").read_text()) for run in (undisturbed, tmp_path / "there"))
        assert there["confusion"] == here["confusion"]
        assert there["queries"] == here["queries"] + 1  # what the model can do
        served, billed = counted(url), paid(tmp_path / "there")
        assert served["fedbbpt_queries_total"] == billed["queries"] <= there["queries"]
        assert served["fedbbpt_tokens_total"] == billed["tokens"]
        shown = f"{billed['queries']:,} queries in {billed['requests']:,} requests"
        assert shown in (tmp_path / "there" / "report.html").read_text()

    def test_images(self, shapes: Path, serve: Serve, train: Train, tmp_path: Path) -> None:
        url = serve("colours", f"folder:{shapes}")
        task = ["--task", f"folder:{shapes}", "--clients", "2", "--shots-per-class", "4", "--rounds", "2"]
        task += ["-o", "task.provider_shots_per_class=2", "-o", "data.test_limit=20"]
        train("--backend", "colours", *task, "--out", tmp_path / "here")
        options = [f"base_url={url}/v1", "model=colours", "image_size=8"]
        there = ["--backend", "openai", *(word for option in options for word in ("-o", f"backend.{option}"))]
        train(*there, *task, "--out", tmp_path / "there")
        assert parameters(tmp_path / "there") == parameters(tmp_path / "here")
        (tmp_path / "colours.toml").write_text(
            f'url = "{url}/v1/classify"\nmodality = "image"\nmax_inputs_per_request = 64\n'
            f'body = {{inputs = "{{inputs}}"}}\n'
            'scores = "scores"\nkind = "log-probabilities"\nclasses = ["circle", "square"]\n'
            'auth = {header = "Authorization", prefix = "Bearer ", variable = "FEDBBPT_TOKEN"}\n'
            "image = {width = 8, height = 8}\n"
        )
        described = ["--backend", "http-json", "-o", f"backend.endpoint_file={tmp_path / 'colours.toml'}"]
        train(*described, *task, "--out", tmp_path / "described")
        assert parameters(tmp_path / "described") == parameters(tmp_path / "here")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_client_of_the_openai_api_is_small(
    site: Path, serve: Serve, small: Callable[..., None], tmp_path: Path
) -> None:
    url = serve("letters", f"csv:{site / 'reviews.csv'}")
    small(environment(site, tmp_path / "cache"), "train", *remote(url, "chat"), *texts(site), "--out", tmp_path / "run")


class TestFaults:
    @pytest.mark.parametrize("kinds", [tuple(KINDS), ("lose",), ("duplicate",), ("truncate",), ("nan",)], ids=",".join)
    def test_nothing_is_lost_paid_twice_or_disclosed(
        self, kinds: tuple[str, ...], site: Path, serve: Serve, train: Train, undisturbed: Path, tmp_path: Path
    ) -> None:
        url = serve("letters", f"csv:{site / 'reviews.csv'}")
        with FaultProxy(url, 0.2, seed=1, kinds=kinds) as proxy:
            there = remote(proxy.url, "completions", "max_inputs_per_request=4", "timeout=5", "retries=20")
            train(*there, *texts(site), "--out", tmp_path / "there")
        assert sum(proxy.counts.values()) - proxy.counts["passed"] >= 5
        assert parameters(tmp_path / "there") == parameters(undisturbed)
        served, billed = counted(url), paid(tmp_path / "there")
        assert (served["fedbbpt_queries_total"], served["fedbbpt_tokens_total"]) == (
            billed["queries"],
            billed["tokens"],
        )
        kept = [path for folder in ("there", "cache") for path in (tmp_path / folder).rglob("*") if path.is_file()]
        assert len(kept) > 5
        assert not any(TOKEN.encode() in path.read_bytes() for path in kept)

    def test_killed_at_any_moment_it_goes_on_to_the_same_bits(
        self, site: Path, serve: Serve, train: Train, undisturbed: Path, tmp_path: Path
    ) -> None:
        url = serve("letters", f"csv:{site / 'reviews.csv'}")
        out, rng, killed = tmp_path / "there", random.Random(1), 0
        options = [*remote(url, "completions", "max_inputs_per_request=4", "concurrency=2"), *texts(site), "--out", out]
        for _ in range(4):
            command = ["--resume", out] if (out / "config.toml").exists() else options
            env = environment(site, tmp_path / "cache")
            process = subprocess.Popen([sys.executable, "-m", "fedbbpt", "train", *map(str, command)], env=env)
            time.sleep(rng.uniform(1.0, 2.5))
            killed += process.poll() is None
            process.kill()
            process.wait()
        if (out / "config.toml").exists():
            train("--resume", out)
        else:
            train(*options)
        assert killed
        assert parameters(out) == parameters(undisturbed)
        served, billed = counted(url)["fedbbpt_queries_total"], paid(out)["queries"]
        assert billed <= served <= billed + killed * 2 * 4  # those in flight

    def test_a_service_that_is_gone_stops_the_run_and_loses_nothing(
        self, site: Path, train: Train, tmp_path: Path
    ) -> None:
        there = remote("http://127.0.0.1:9", "chat", "retries=1", "top_logprobs=20", "max_tokens_parameter=max_tokens")
        done = train(*there, *texts(site), "--out", tmp_path / "there", check=False)
        assert done.returncode == 1
        assert "127.0.0.1:9 refuses connections; look whether the service is up" in done.stderr


class TestLimits:
    def test_hard_ones_stop_a_run_that_goes_on_with_more(
        self, site: Path, serve: Serve, train: Train, undisturbed: Path, tmp_path: Path
    ) -> None:
        url = serve("letters", f"csv:{site / 'reviews.csv'}")
        there = [
            *remote(url, "completions", "usd_per_million_tokens=[10.0, 10.0]", "max_inputs_per_request=4"),
            *texts(site),
        ]
        dry = train(*there, "--dry-run").stdout
        estimated = float(re.search(r"estimated .* tokens, \$([0-9.]+)", dry).group(1))  # type: ignore[union-attr]
        assert not counted(url)["fedbbpt_queries_total"]
        stopped = train(*there, "--max-cost", estimated / 3, "--out", tmp_path / "there", check=False)
        assert stopped.returncode == 1
        assert "max_cost" in stopped.stderr
        assert "go on with --resume" in stopped.stderr
        before = counted(url)["fedbbpt_tokens_total"]
        assert 0 < before * 10 / 1e6 <= estimated / 3
        train("--resume", tmp_path / "there", "--max-cost", 10 * estimated)
        assert parameters(tmp_path / "there") == parameters(undisturbed)
        whole = paid(tmp_path / "there")
        assert whole["cost"] == pytest.approx(counted(url)["fedbbpt_tokens_total"] * 10 / 1e6)
        assert estimated / 5 < whole["cost"] < 5 * estimated

    def test_requests_are_counted_before_they_are_sent(
        self, site: Path, serve: Serve, train: Train, tmp_path: Path
    ) -> None:
        url = serve("letters", f"csv:{site / 'reviews.csv'}")
        there = [*remote(url, "chat"), *texts(site)]
        refused = train(*there, "--max-requests", 20, "--out", tmp_path / "there", check=False)
        assert refused.returncode == 1
        assert "max_requests=20 is too little" in refused.stderr
        train(*there, "--max-requests", 200, "--out", tmp_path / "there")
        assert counted(url)["fedbbpt_queries_total"] == paid(tmp_path / "there")["requests"] <= 200

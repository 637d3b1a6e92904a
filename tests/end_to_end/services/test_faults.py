"""A service that fails, and runs that are killed: nothing is lost, paid twice or disclosed."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedbbpt_benchmarks.experiments.fault_proxy import KINDS, FaultProxy

Fixture = Callable[..., Any]


@pytest.mark.parametrize("kinds", [tuple(KINDS), ("lose",), ("duplicate",), ("truncate",), ("nan",)], ids=",".join)
def test_nothing_is_lost_paid_twice_or_disclosed(
    kinds: tuple[str, ...],
    letters_url: str,
    letters: Fixture,
    reviews: list[str],
    train: Fixture,
    undisturbed: Path,
    metrics: Fixture,
    parameters: Fixture,
    summary: Fixture,
    token: str,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    with FaultProxy(letters_url, 0.2, seed=1, kinds=kinds) as proxy:
        backend = letters(proxy.url, "completions", "max_inputs_per_request=4", "timeout=5", "retries=20")
        train(*backend, *reviews, "--out", run)
    assert sum(proxy.counts.values()) - proxy.counts["passed"] >= 5
    assert parameters(run) == parameters(undisturbed)
    served, billed = metrics(letters_url), summary(run)["billed"]
    assert served["fedbbpt_queries_total"] == billed["queries"]
    assert served["fedbbpt_tokens_total"] == billed["tokens"]
    written = [path for folder in (run, tmp_path / "cache") for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not any(token.encode() in path.read_bytes() for path in written)


def test_killed_at_any_moment_it_goes_on_to_the_same_bits(
    letters_url: str,
    letters: Fixture,
    reviews: list[str],
    environment: dict[str, str],
    train: Fixture,
    undisturbed: Path,
    metrics: Fixture,
    parameters: Fixture,
    summary: Fixture,
    tmp_path: Path,
) -> None:
    run, rng, killed = tmp_path / "run", random.Random(1), 0
    backend = letters(letters_url, "completions", "max_inputs_per_request=4", "concurrency=2")

    def command() -> list[object]:
        return ["--resume", run] if (run / "config.toml").exists() else [*backend, *reviews, "--out", run]

    for _ in range(4):
        arguments = [sys.executable, "-m", "fedbbpt", "train", *map(str, command())]
        process = subprocess.Popen(arguments, env=environment)
        time.sleep(rng.uniform(1.0, 2.5))
        killed += process.poll() is None
        process.kill()
        process.wait()
    train(*command())
    assert killed
    assert parameters(run) == parameters(undisturbed)
    served, billed = metrics(letters_url)["fedbbpt_queries_total"], summary(run)["billed"]["queries"]
    assert billed <= served <= billed + killed * 2 * 4  # those in flight


def test_a_service_that_is_gone_stops_the_run(
    letters: Fixture, reviews: list[str], train: Fixture, tmp_path: Path
) -> None:
    settings = ("retries=1", "top_logprobs=20", "max_tokens_parameter=max_tokens")
    backend = letters("http://127.0.0.1:9", "chat", *settings)
    done = train(*backend, *reviews, "--out", tmp_path / "run", check=False)
    assert done.returncode == 1
    assert "127.0.0.1:9 refuses connections; look whether the service is up" in done.stderr

"""Limits of cost and requests hold, and a run that they stop goes on when it may spend more."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fixture = Callable[..., Any]


def test_max_cost_stops_a_run_that_goes_on_with_more(
    letters_url: str,
    letters: Fixture,
    reviews: list[str],
    train: Fixture,
    undisturbed: Path,
    metrics: Fixture,
    parameters: Fixture,
    summary: Fixture,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    prices = ("usd_per_million_tokens=[10.0, 10.0]", "max_inputs_per_request=4")
    command = [*letters(letters_url, "completions", *prices), *reviews]
    dry = train(*command, "--dry-run").stdout
    estimated = float(re.search(r"estimated .* tokens, \$([0-9.]+)", dry).group(1))  # type: ignore[union-attr]
    assert not metrics(letters_url)["fedbbpt_queries_total"]
    stopped = train(*command, "--max-cost", estimated / 3, "--out", run, check=False)
    assert stopped.returncode == 1
    assert "max_cost" in stopped.stderr
    assert "go on with --resume" in stopped.stderr
    before = metrics(letters_url)["fedbbpt_tokens_total"]
    assert 0 < before * 10 / 1e6 <= estimated / 3
    train("--resume", run, "--max-cost", 10 * estimated)
    assert parameters(run) == parameters(undisturbed)
    cost = summary(run)["billed"]["cost"]
    assert cost == pytest.approx(metrics(letters_url)["fedbbpt_tokens_total"] * 10 / 1e6)
    assert estimated / 5 < cost < 5 * estimated


def test_requests_are_counted_before_they_are_sent(
    letters_url: str,
    letters: Fixture,
    reviews: list[str],
    train: Fixture,
    metrics: Fixture,
    summary: Fixture,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    command = [*letters(letters_url, "chat"), *reviews]
    refused = train(*command, "--max-requests", 20, "--out", run, check=False)
    assert refused.returncode == 1
    assert "max_requests=20 is too little" in refused.stderr
    train(*command, "--max-requests", 200, "--out", run)
    assert metrics(letters_url)["fedbbpt_queries_total"] == summary(run)["billed"]["requests"] <= 200

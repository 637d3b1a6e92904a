"""A model behind `fedbbpt serve`: the same bits as in the run's own process, and a small client."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fixture = Callable[..., Any]


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_texts(
    api: str,
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
    train(*letters(letters_url, api), *reviews, "--out", run)
    assert parameters(run) == parameters(undisturbed)
    here, there = summary(undisturbed), summary(run)
    assert there["confusion"] == here["confusion"]
    assert there["queries"] == here["queries"] + 1  # what the model can do
    served, billed = metrics(letters_url), there["billed"]
    assert served["fedbbpt_queries_total"] == billed["queries"] <= there["queries"]
    assert served["fedbbpt_tokens_total"] == billed["tokens"]
    assert f"{billed['queries']:,} queries in {billed['requests']:,} requests" in (run / "report.html").read_text()


def test_images(
    shapes: Path, serve: Fixture, through_openai: Fixture, train: Fixture, parameters: Fixture, tmp_path: Path
) -> None:
    url = serve("colours", f"folder:{shapes}")
    task = ["--task", f"folder:{shapes}", "--clients", "2", "--shots-per-class", "4", "--rounds", "2"]
    task += ["-o", "task.provider_shots_per_class=2", "-o", "data.test_limit=20"]
    (tmp_path / "colours.toml").write_text(
        f'url = "{url}/v1/classify"\nmodality = "image"\nmax_inputs_per_request = 64\n'
        f'body = {{inputs = "{{inputs}}"}}\n'
        'scores = "scores"\nkind = "log-probabilities"\nclasses = ["circle", "square"]\n'
        'auth = {header = "Authorization", prefix = "Bearer ", variable = "FEDBBPT_TOKEN"}\n'
        "image = {width = 8, height = 8}\n"
    )
    train("--backend", "colours", *task, "--out", tmp_path / "local")
    backends = {
        "openai": through_openai(url, "model=colours", "image_size=8"),
        "http-json": ["--backend", "http-json", "-o", f"backend.endpoint_file={tmp_path / 'colours.toml'}"],
    }
    for name, backend in backends.items():
        train(*backend, *task, "--out", tmp_path / name)
        assert parameters(tmp_path / name) == parameters(tmp_path / "local")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_client_of_the_openai_api_is_small(
    letters_url: str,
    letters: Fixture,
    reviews: list[str],
    environment: dict[str, str],
    small: Callable[..., None],
    tmp_path: Path,
) -> None:
    small(environment, "train", *letters(letters_url, "chat"), *reviews, "--out", tmp_path / "run")

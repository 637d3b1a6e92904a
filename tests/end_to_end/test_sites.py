"""A federation whose clients have data of their own, as a user runs it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
BACKEND = ("-o", "backend.classifier=mnist", "--prompt", "none", "--rounds", "1", "--shots-per-class", "4")


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    """Three sites with light and dark images; the last has another class."""
    rng = np.random.default_rng(0)
    for site, classes in {"rome": (0, 1), "berlin": (0, 1), "paris": (0, 2)}.items():
        for label in classes:
            folder = tmp_path / "federation" / site / str(label)
            folder.mkdir(parents=True)
            for i in range(10):
                pixels = rng.integers(90 * label, 90 * label + 70, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "federation"


def test_all_engines_give_the_same_bits_and_the_data_may_move(
    in_process: Cli, federation: Path, tmp_path: Path, outcome: Callable[[Path], Any]
) -> None:
    task = ("--task", f"sites:{federation}")
    printed = in_process("train", *task, *BACKEND, "--out", tmp_path / "serial", check=True).stdout
    assert "3, each with the data of a site (berlin: " in printed
    in_process("train", *task, *BACKEND, "--engine", "processes", "--out", tmp_path / "processes", check=True)
    assert outcome(tmp_path / "serial")[:3] == outcome(tmp_path / "processes")[:3]
    summary = json.loads((tmp_path / "serial" / "summary.json").read_text())
    assert sorted(summary["clients"]) == ["berlin", "paris", "rome"]

    moved = federation.rename(tmp_path / "moved")
    image = moved / "rome" / "0" / "0.png"
    assert f"{image}\t" in in_process("predict", tmp_path / "serial", image, check=True).stdout
    in_process("eval", tmp_path / "serial", "--task", f"sites:{moved}", check=True)
    found = json.loads((tmp_path / "serial" / "evaluation.json").read_text())
    assert found["test_accuracy"] == summary["test_accuracy"]


def test_a_model_without_a_head_names_the_option_that_gives_one(in_process: Cli, federation: Path) -> None:
    refused = in_process("train", "--task", f"sites:{federation}", "--dry-run")
    assert refused.returncode != 0
    assert (
        "the task's provider has no examples to fit a head to; give one with -o backend.classifier=" in refused.stderr
    )


def test_sites_are_not_divided_among_clients(in_process: Cli, federation: Path) -> None:
    refused = in_process("train", "--task", f"sites:{federation}", *BACKEND, "--clients", "2", "--dry-run")
    assert refused.returncode != 0
    assert "each of which is one client; leave out --clients 2" in refused.stderr

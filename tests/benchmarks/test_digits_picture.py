"""The README's picture: what it shows is what the run and its model say."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedbbpt.config import make_config
from fedbbpt.run.train import train
from fedbbpt_benchmarks.experiments.digits_picture import main

ROOT = Path(__file__).parents[2]
TINY = {"clients": 2, "shots_per_class": 1, "validation_shots_per_class": 1, "test_limit": 30}


def numbers(svg: str) -> list[str]:
    return re.findall(r">(\d\.\d{3})<", svg)


def test_it_shows_ten_digits_twice_and_the_accuracies_of_the_run(tmp_path: Path) -> None:
    summary = train(make_config({"rounds": 1, "data": TINY}), tmp_path / "run")
    done = CliRunner().invoke(main, [str(tmp_path / "run"), str(tmp_path / "a.svg")])
    assert done.exit_code == 0, done.output
    svg = (tmp_path / "a.svg").read_text("utf-8")
    names = ("zero_shot_accuracy", "readout_alone_accuracy", "test_accuracy")
    assert numbers(svg) == [f"{summary[name]:.3f}" for name in names]
    assert [f"a {digit}" for digit in range(10)] * 2 == re.findall(r"<title>(a \d)</title>", svg)
    assert svg.count("✓") + svg.count("✗") == 20


def test_a_run_of_another_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"task": "folder"}))
    done = CliRunner().invoke(main, [str(tmp_path), str(tmp_path / "a.svg")])
    assert done.exit_code == 1
    assert "expected a run of digits, got one of folder" in done.output


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_pages_say_the_numbers_of_the_picture(page: str) -> None:
    svg, text = ((ROOT / path).read_text("utf-8") for path in ("docs/digits.svg", page))
    alone, head, both = (number.lstrip("0") for number in numbers(svg))
    assert f"accuracy {alone} alone, {head} with a head, {both} with prompt and head" in text

"""The page that compares finished runs."""

import json
import re

import pytest

from fedbbpt.errors import ConfigError, RunError
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run import environment
from fedbbpt.run.report.comparison import write_comparison


@pytest.fixture
def runs(run, tmp_path):
    """Two runs on the same data: with a prompt, and without."""
    folders = [tmp_path / "prompted", tmp_path / "plain"]
    run(rounds=2, folder=folders[0])
    run(rounds=1, folder=folders[1], tuned=(NoPrompt, LinearReadout))
    return folders


@pytest.fixture
def compare(tmp_path, make_page):
    """`compare(folders)`: the page."""
    return lambda folders: make_page(write_comparison(folders, tmp_path / "page.html").read_text("utf-8"))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_runs_are_paired_on_their_test_examples(runs, compare):
    page, (one, other) = compare(runs), map(summary, runs)
    rows = {row[0]: row[1:] for row in page.rows[:3]}
    assert rows["prompted"][1] == "– the others are compared with it"
    gain = f"{100 * (other['test_accuracy'] - one['test_accuracy']):+.1f}".replace("-", "−")
    assert re.fullmatch(re.escape(gain) + r" [+−][\d.]+ to [+−][\d.]+ p [=<] [\d.]+", rows["plain"][1])
    assert rows["plain"][0].startswith(f"{100 * other['test_accuracy']:.1f} %")
    validation = sum(sum(client["validation"]) for client in one["clients"].values())
    assert rows["prompted"][2] == f"{100 * one['validation_accuracy']:.1f} % (n={validation})"
    assert f"Validation accuracy (n={validation}), %" in page.text


def test_curves_go_over_rounds_and_over_queries(runs, compare):
    page = compare(runs)
    assert [len(page.all("circle", style)) for style in ("run-0", "run-1")] == [4 * 3, 4 * 2]
    labels = [svg["aria-label"] for svg in page.all("svg", "chart")]
    assert [label.rpartition(" by ")[2] for label in labels] == 2 * ["round", "queries"]
    assert "plain, round 1, " in page.text


def test_costs_are_those_of_the_summaries(runs, compare):
    page = compare(runs)
    for folder in runs:
        s = summary(folder)
        row = next(row for row in reversed(page.rows) if row[0] == folder.name)
        assert row[1:4] == [f"{s[key]:,}" for key in ("queries", "requests", "exchanges")]


def test_the_page_needs_nothing_but_itself(runs, compare):
    page = compare(runs)
    assert not page.all("script") + page.all("link") + page.all("img")
    assert all(link["href"].startswith("#") for link in page.all("a"))


def test_without_the_same_examples_the_page_says_why(runs, compare, run, clients, tmp_path):
    run(rounds=0, folder=tmp_path / "fewer", clients=clients[:2])
    (runs[1] / "clients" / "tested.safetensors").unlink()
    rows = {row[0]: row[2] for row in compare([*runs, tmp_path / "fewer"]).rows[1:4]}
    assert rows["plain"] == "– unpaired: plain does not keep its answers by example"
    assert rows["fewer"] == "– unpaired: the test examples are not the same"


def test_runs_of_several_tasks_are_refused(runs, compare):
    other = summary(runs[1]) | {"task": "svhn"}
    (runs[1] / "summary.json").write_text(json.dumps(other))
    environment.add_result_checksums(runs[1])
    with pytest.raises(RunError, match=r"prompted is a run of digits with 3 classes, and .*plain one of svhn with 3"):
        compare(runs)


def test_a_run_is_named_once(runs, compare):
    with pytest.raises(ConfigError, match="one folder is named twice; name it once"):
        compare([runs[0], runs[0].parent / "x" / ".." / "prompted"])


def test_an_unfinished_run_is_named(runs, compare):
    (runs[1] / "summary.json").unlink()
    with pytest.raises(RunError, match=r"plain has no summary yet; finish the run"):
        compare(runs)


def test_folders_of_one_name_are_told_apart(run, compare, tmp_path):
    folders = [tmp_path / name / "run" for name in ("&amp;", "c")]
    for folder in folders:
        folder.parent.mkdir()
        run(rounds=0, folder=folder)
    page = compare(folders)
    assert {str(folder) for folder in folders} <= {row[0] for row in page.rows}

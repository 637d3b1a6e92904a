"""What a run says at its end of predictions that take several queries."""

import io

import pytest
from rich.console import Console

from fedbbpt.run.progress import LineReporter


def told(summary) -> list[str]:
    text = io.StringIO()
    LineReporter(Console(file=text, width=200)).on_summary(summary)
    return [line for line in text.getvalue().splitlines() if line.startswith("prediction")]


@pytest.mark.parametrize(
    ("alone", "says"),
    [(0.75, "3 queries each, for +10.0 points beside the readout alone, which takes one"), (None, "3 queries each")],
)
def test_several_queries_per_prediction_are_told_with_what_they_bring(run, alone, says) -> None:
    summary = run(rounds=1) | {"queries_per_input": 3, "test_accuracy": 0.85, "readout_alone_accuracy": alone}
    assert told(summary) == [f"prediction     {says}"]


def test_a_single_query_goes_without_saying(run) -> None:
    assert told(run(rounds=1)) == []

"""What a run shows while it works, and says at its end of predictions that take several queries."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from fedbbpt.run import progress
from fedbbpt.run.callback import Callback
from fedbbpt.run.progress import BarReporter, LineReporter


class Bar(BarReporter):
    """Keeps how far the bar was at each of its movements, and the queries of the rounds."""

    def __init__(self, stop_at: int | None = None) -> None:
        console = Console(file=io.StringIO(), force_terminal=True)
        self.now = 0.0
        bar = Progress(console=console, get_time=lambda: self.now, speed_estimate_period=progress.SPEED_PERIOD)
        super().__init__(console, bar)
        self.moved: list[float] = []
        self.rounds: list[int] = []
        self.stop_at = stop_at

    @property
    def task(self):
        return self._progress.tasks[0]

    def on_queries(self, queries: int) -> None:
        self.now += 1
        super().on_queries(queries)
        self.moved.append(self.task.completed)

    def on_round(self, row) -> None:
        super().on_round(row)
        self.rounds.append(row["queries"])
        if row["round"] == self.stop_at:
            raise KeyboardInterrupt


def test_the_bar_moves_within_a_round_by_the_queries_that_were_asked(run) -> None:
    bar = Bar()
    summary = run(rounds=3, callback=bar)
    assert bar.moved == sorted(bar.moved)
    assert bar.moved[0] == 0
    start, first = bar.rounds[:2]
    within = {moved for moved in bar.moved if start < moved < first}
    assert len(within) > 3
    assert bar.moved[-1] == bar.task.completed == bar.task.total == summary["queries"]


def test_the_bar_of_a_resumed_run_begins_where_it_was_and_reckons_with_what_it_asks_itself(run) -> None:
    stopped, resumed = Bar(stop_at=2), Bar()
    with pytest.raises(KeyboardInterrupt):
        run(rounds=4, callback=stopped)
    run(rounds=4, callback=resumed)
    assert resumed.moved[0] == stopped.rounds[1]  # after round 1: round 2 was not committed
    own = resumed.moved[-1] - resumed.moved[0]
    assert resumed.task.speed == pytest.approx(own / (len(resumed.moved) - 1))  # a second for each movement


def test_a_callback_hears_of_all_queries(run) -> None:
    heard: list[int] = []

    class Listener(Callback):
        def on_queries(self, queries: int) -> None:
            heard.append(queries)

    assert run(rounds=1, callback=Listener())["queries"] == heard[-1]


@pytest.mark.parametrize(("done", "before"), [(0, 0.0), (6, 600.0)])
def test_the_time_that_is_left_counts_the_rounds_since_the_start_or_the_resumption(monkeypatch, done, before) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    text = io.StringIO()
    reporter = LineReporter(Console(file=text, width=300))
    reporter._rounds, reporter._done, reporter._began = 10, done, now[0]
    row = {"subset": "validation", "accuracy": 0.5, "loss": 1.0, "queries": 1, "bytes_up": 1, "bytes_down": 1}
    if not done:
        reporter.on_round(row | {"round": 0, "seconds": 5.0})
    for round_ in (done + 1, done + 2):
        now[0] += 7
        reporter.on_round(row | {"round": round_, "seconds": before + now[0]})
    assert f"ETA {7 * (10 - done - 2)} s" in text.getvalue().splitlines()[-1]


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

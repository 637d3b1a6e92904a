"""Several callbacks as one, and what happens when one of them fails."""

import pytest

from fedbbpt.errors import RunError
from fedbbpt.run.callback import Callback, Callbacks


class Told(Callback):
    """Notes its calls; fails at the row of a round, or when it is closed."""

    def __init__(self, name: str, notes: list[str], fails_at: int | None = None, fails_to_close: bool = False) -> None:
        self.name, self.notes, self.fails_at, self.fails_to_close = name, notes, fails_at, fails_to_close

    def on_plan(self, plan, experiment, rounds_done) -> None:
        self.notes.append(f"{self.name} plan {rounds_done}")

    def on_round(self, row) -> None:
        self.notes.append(f"{self.name} {row['subset']} {row['round']}")
        if row["round"] == self.fails_at:
            raise RunError("the service is away")

    def on_summary(self, summary) -> None:
        self.notes.append(f"{self.name} summary")

    def close(self) -> None:
        self.notes.append(f"{self.name} close")
        if self.fails_to_close:
            raise RunError(f"{self.name} does not close")


def test_each_is_called_in_order_and_closed_last(run):
    notes: list[str] = []
    run(rounds=0, callback=Callbacks(Told("a", notes), Told("b", notes)))
    calls = ["plan 0", "validation 0", "test 0", "summary", "close"]
    assert notes == [f"{name} {call}" for call in calls for name in "ab"]


def test_a_run_whose_callback_fails_is_resumed_to_the_same_result(run, tmp_path):
    whole = run(rounds=2, folder=tmp_path / "whole")
    notes: list[str] = []
    with pytest.raises(RunError, match="the service is away"):
        run(rounds=2, callback=Callbacks(Told("a", notes, fails_at=2, fails_to_close=True), Told("b", notes)))
    assert notes[-2:] == ["a close", "b close"]
    resumed = run(rounds=2, callback=Told("a", notes))
    timeless = {"seconds"}
    assert {k: v for k, v in resumed.items() if k not in timeless} == {
        k: v for k, v in whole.items() if k not in timeless
    }


def test_an_error_of_closing_alone_is_raised_and_all_are_closed(run):
    notes: list[str] = []
    with pytest.raises(RunError, match="a does not close"):
        run(rounds=0, callback=Callbacks(Told("a", notes, fails_to_close=True), Told("b", notes)))
    assert notes[-3:] == ["b summary", "a close", "b close"]


def test_what_a_run_refuses_closes_too(run):
    notes: list[str] = []
    run(rounds=0)
    with pytest.raises(RunError):
        run(rounds=1, callback=Told("a", notes))
    assert notes == ["a close"]

"""A small real run, whose calls are kept and told to any callback."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fedbbpt.config import make_config
from fedbbpt.run import train
from fedbbpt.run.callback import Callback
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.query_budget import QueryPlan

DATA = {"clients": 2, "shots_per_class": 2, "validation_shots_per_class": 1, "test_limit": 10}


class Recorded(Callback):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def on_plan(self, plan: QueryPlan, experiment: Experiment, rounds_done: int) -> None:
        self.plan = plan, experiment

    def on_round(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)

    def on_summary(self, summary: Mapping[str, Any]) -> None:
        self.summary = summary


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """What a run of one round tells; its validation rows are those of rounds 0 and 1."""
    recorded, folder = Recorded(), tmp_path_factory.mktemp("recorded")
    config = make_config({"rounds": 1, "prompt": {"name": "none"}, "data": DATA})
    train.train(config, folder, recorded)
    assert [row["subset"] for row in recorded.rows] == ["validation", "validation", "test"]
    return recorded


@pytest.fixture
def tell(recorded: Recorded) -> Callable[..., None]:
    """`tell(callback, rows, done, complete)`: the plan, some of the rows and, of a complete run, the summary."""

    def go(callback: Callback, rows: slice = slice(None), done: int = 0, complete: bool = True) -> None:
        callback.on_plan(*recorded.plan, done)
        for row in recorded.rows[rows]:
            callback.on_round(row)
        if complete:
            callback.on_summary(recorded.summary)
        callback.close()

    return go


@pytest.fixture
def quick() -> list[str]:
    """Options of `fedbbpt train` for a run of a few seconds."""
    options = [f"-o data.{key}={value}" for key, value in DATA.items()]
    return " ".join(["--prompt none --rounds 1", *options]).split()


@pytest.fixture
def private(recorded: Recorded) -> set[str]:
    """What is of single clients, or of this machine: never logged."""
    return {*recorded.summary["clients"], "confusion", str(Path.home())}

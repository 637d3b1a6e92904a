"""Weights & Biases, with a stand-in for its module: the module itself is not installed for the tests."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fedbbpt.callbacks import open_callback
from fedbbpt.errors import MissingExtra


class Stand:
    """Keeps what it is told, as the module and as its run."""

    def __init__(self) -> None:
        self.began: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.ended: list[int] = []
        self.module = SimpleNamespace(Settings=lambda **options: options, init=self.init)

    def init(self, **options: Any) -> "Stand":
        self.began = options
        return self

    def log(self, numbers: dict[str, Any]) -> None:
        self.rows.append(numbers)

    def finish(self, exit_code: int) -> None:
        self.ended.append(exit_code)


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """In place of the module `wandb`."""
    stand = Stand()
    monkeypatch.setitem(sys.modules, "wandb", stand.module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return stand


def test_rows_and_summary_are_logged(tell, recorded, private, stand):
    tell(open_callback("wandb:mine"))
    assert stand.began["project"] == "mine"
    assert [row["round"] for row in stand.rows] == [row["round"] for row in recorded.rows]
    assert stand.rows[1]["validation/accuracy"] == recorded.rows[1]["accuracy"]
    assert stand.summary["test_accuracy"] == recorded.summary["test_accuracy"]
    assert stand.ended == [0]
    assert not any(word in str((stand.began, stand.rows, stand.summary)) for word in private)


@pytest.mark.parametrize(("mode", "used"), [(None, "offline"), ("", "offline"), ("online", "online")])
def test_it_stays_offline_unless_told(tell, stand, monkeypatch, mode, used):
    if mode is not None:
        monkeypatch.setenv("WANDB_MODE", mode)
    tell(open_callback("wandb:mine"), slice(0, 0))
    assert stand.began["mode"] == used


def test_a_stopped_run_says_so_and_the_next_is_in_its_group(tell, stand):
    tell(open_callback("wandb:mine"), slice(0, 1), complete=False)
    group = stand.began["group"]
    tell(open_callback("wandb:mine"), slice(1, 3), done=1)
    assert stand.ended == [1, 0]
    assert (stand.began["group"], stand.began["config"]["rounds_done"]) == (group, 1)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fedbbpt\[wandb\]'"):
        open_callback("wandb:mine")

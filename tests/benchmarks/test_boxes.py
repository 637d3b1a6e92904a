"""The comparison on boxes: its peers on a bowl, its file and its table."""

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from fedbbpt.errors import BackendError
from fedbbpt_benchmarks.experiments import boxes
from fedbbpt_benchmarks.experiments.box import Box
from fedbbpt_benchmarks.experiments.peers import PEERS


class Bowl:
    """A box of two clients whose examples are numbers, with the squared distance to θ's mean as loss."""

    start = np.ones(4)
    everything = np.array([0.1, 0.2, 0.3, 0.4])
    shares = (everything[:3], everything[3:])

    def __init__(self):
        self.queries = 0

    def losses(self, theta, data):
        self.queries += len(data)
        return ((theta[None] - data[:, None]) ** 2).mean(1)

    def loss(self, theta):
        return float(((theta[None] - self.everything[:, None]) ** 2).mean())


@pytest.mark.parametrize("name", [name for name in PEERS if name != "dfo-ls"])
def test_a_peer_lowers_the_loss_and_keeps_to_its_budget(name):
    box = Bowl()
    path = PEERS[name](box, 2000, 1)
    queries = [spent for spent, _ in path]
    assert queries == sorted(queries)
    assert 0 < queries[-1] <= 2000
    assert path[0][1].tolist() == [1, 1, 1, 1]
    assert box.loss(path[-1][1]) < box.loss(box.start)


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dfols", None)
    with pytest.raises(BackendError, match="pip install DFO-LS"):
        PEERS["dfo-ls"](Bowl(), 100, 1)


def test_dfo_ls_keeps_the_best_theta():
    box = Bowl()
    path = PEERS["dfo-ls"](box, 200, 1)
    losses = [box.loss(theta) for _, theta in path[1:]]
    assert losses == sorted(losses, reverse=True)
    assert box.queries <= 200


def test_a_box_is_written_as_task_prompt_and_clients():
    assert Box.parse("digits:low-rank:10") == ("digits", "low-rank", 10)
    assert str(Box("digits", "affine", 1)) == "digits:affine:1"


def test_finished_cells_are_not_searched_again(tmp_path, monkeypatch):
    searched = []
    monkeypatch.setattr(boxes, "searched", lambda cell, *more: searched.append(cell) or {"0": 2.0, "2500": cell.seed})
    out = tmp_path / "boxes.jsonl"
    asked = [str(out), "--box", "digits:affine:1", "--method", "spsa"]
    CliRunner().invoke(boxes.main, [*asked, "--seeds", "1"], catch_exceptions=False)
    result = CliRunner().invoke(boxes.main, [*asked, "--seeds", "1,2"], catch_exceptions=False)
    assert [cell.seed for cell in searched] == [1, 2]
    assert [json.loads(line)["seed"] for line in out.read_text().splitlines()] == [1, 2]
    assert "| digits:affine:1 | spsa | 2 | 2.000 ± 0.000 | 1.500 ± 0.707 |" in result.output

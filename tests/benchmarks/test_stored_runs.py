"""Experiments go on where they stopped."""

import json

import pytest

from fedbbpt_benchmarks.experiments.stored_runs import read, run_missing

CELLS = [{"task": task, "seed": seed} for task in "ab" for seed in (1, 2)]


def test_what_was_stopped_goes_on(tmp_path):
    out, asked = tmp_path / "out.jsonl", []

    def result(cell):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(cell)
        return {"loss": cell["seed"] / 2}

    assert read(out) == []
    with pytest.raises(KeyboardInterrupt):
        run_missing(out, CELLS, result)
    assert read(out) == [cell | {"loss": cell["seed"] / 2} for cell in CELLS[:2]]
    asked.clear()
    rows = run_missing(out, CELLS, result)
    assert asked == CELLS[2:]
    assert rows == read(out) == [cell | {"loss": cell["seed"] / 2} for cell in CELLS]
    assert [json.loads(line) for line in out.read_text().splitlines()] == rows
    assert run_missing(out, CELLS[1:], lambda cell: pytest.fail("it is there")) == rows

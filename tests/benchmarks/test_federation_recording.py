"""What the cost of a federation is computed from: recorded rounds, and the processor time of processes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedbbpt_benchmarks.federation import exchanges, processor_time
from fedbbpt_benchmarks.federation.exchanges import record
from fedbbpt_benchmarks.federation.processor_time import ProcessorTime
from fedbbpt_benchmarks.federation.sites import new_folder

TINY = {"rounds": 1, "data": {"shots_per_class": 2, "validation_shots_per_class": 1, "test_limit": 10}}
WRAPPED = 300  # bytes at most of a federation's request around a message, and of its response around a reply


@pytest.mark.parametrize("algorithm", ["ensemble", "sfprompt"])
def test_all_exchanges_of_a_round_are_recorded(algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exchanges.METHODS, "tiny", TINY | {"algorithm": {"name": algorithm}})
    found = record(folder := new_folder(tmp_path, "tiny", 1), "tiny")
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    start, trained = rows[:2]
    assert found.rounds == 1
    assert len(found.exchanges) == trained["exchanges"] - start["exchanges"]
    for way in ("down", "up"):
        recorded = sum(getattr(one, way) + getattr(one, f"crossed_{way}") for one in found.exchanges)
        counted = trained[f"bytes_{way}"] - start[f"bytes_{way}"]
        assert 0 < recorded - counted < WRAPPED * len(found.exchanges)
    assert all(one.seconds > 0 for one in found.exchanges)
    split = algorithm == "sfprompt"
    # 16 of 20 images are kept, in batches of 4 that go forward and back; the validation data go forward.
    assert sum(one.passes for one in found.exchanges) == (2 * 4 + 1 if split else 0)
    assert 0 < found.body_share < 1 if split else found.body_share == 0


def test_the_processor_time_of_each_member_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_time, "INTERVAL", 0.02)
    waits, computes = ([sys.executable, "-c", code] for code in ("input()", "while True: pass"))
    begin = time.time()
    idle, busy = subprocess.Popen(waits, stdin=subprocess.PIPE), subprocess.Popen(computes)
    try:
        with ProcessorTime({idle.pid: "idle", busy.pid: "busy"}) as watch:
            while (used := watch.used(begin, time.time()))["busy"] < 0.5:
                time.sleep(0.05)
    finally:
        for process in (idle, busy):
            process.kill()
            process.wait()
    assert used["idle"] < used["busy"]

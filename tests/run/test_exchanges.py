"""The exchanges of a run: counted with those of the baselines, and never more than planned."""

import itertools
from pathlib import Path

import pytest

from fedbbpt.engines import BASELINE, TUNED
from fedbbpt.engines.serial import Serial
from fedbbpt.prompts.affine import Affine
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run.metrics import read_metrics


@pytest.mark.parametrize("algorithm", ["ensemble", "fedavg", "local"])
def test_exchanges_of_rounds_and_scores_are_counted(run, tmp_path: Path, monkeypatch, algorithm) -> None:
    send, sent = Serial.send, []

    def counting(self, call, clients, on_dropped=None):
        sent.append(call)
        return send(self, call, clients, on_dropped)

    monkeypatch.setattr(Serial, "send", counting)
    summary = run(algorithm={"name": algorithm})
    counts = [row["exchanges"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert counts == sorted(counts)
    assert counts[-1] == summary["exchanges"]
    if algorithm == "local":  # nothing travels
        assert counts[-1] == summary["bytes_up"] == summary["bytes_down"] == 0
        return
    assert counts[-1] == len(sent)
    assert counts == [i for i, call in enumerate(sent, 1) if call.handler == "evaluate" and call.algorithm == TUNED]
    assert summary["bytes_down"] == 3 * sum(len(call.message.to_bytes()) for call in sent)
    baselines = [call for call in sent if call.algorithm == BASELINE]
    traffic = summary["baseline_traffic"]
    assert traffic["exchanges"] == len(baselines) > 4
    assert traffic["bytes_down"] == 3 * sum(len(call.message.to_bytes()) for call in baselines)
    assert 0 < traffic["bytes_up"] < summary["bytes_up"]


@pytest.mark.parametrize(
    ("algorithm", "tuned"),
    [
        ("ensemble", (Affine, LinearReadout)),
        *itertools.product(
            ["fedavg", "local", "gossip", "flood"],
            [(Affine, LinearReadout), (NoPrompt, LinearReadout), (Affine, Identity)],
        ),
    ],
)
@pytest.mark.parametrize("every", [1, 2])
def test_the_plan_bounds_the_exchanges(run, make_watch, algorithm, tuned, every) -> None:
    watch = make_watch()
    readout = {"readout": {"name": "identity"}} if tuned[1] is Identity else {}
    summary = run(algorithm={"name": algorithm}, tuned=tuned, callback=watch, evaluate_every=every, **readout)
    planned = watch.plans[0].most_exchanges
    assert summary["exchanges"] <= planned
    if algorithm == "local" or (tuned[1] is Identity and algorithm != "gossip"):  # no fit that may end early
        assert summary["exchanges"] == planned

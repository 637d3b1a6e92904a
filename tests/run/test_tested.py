"""Which test examples a finished run has right: what its folder keeps, and how two runs are paired."""

from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.errors import RunError
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.run.environment import read_environment
from fedbbpt.run.evaluate import Paired
from fedbbpt.run.tested import ScoredExamples, read_tested


def kept(folder):
    return read_tested(folder, read_environment(folder).files)


def test_what_is_kept_adds_up_to_the_summary(run, tmp_path):
    summary = run(data={"clients": 3})
    tested = kept(tmp_path / "run")
    assert len(tested.right) == sum(sum(client["test"]) for client in summary["clients"].values())
    assert tested.right.mean() == pytest.approx(summary["test_accuracy"])


@pytest.mark.parametrize("algorithm", ["ensemble", "fedavg", "local", "gossip", "flood"])
def test_the_summary_pairs_the_run_with_both_baselines(run, tmp_path, algorithm):
    summary = run(rounds=2, algorithm={"name": algorithm})
    for name in ("zero_shot", "readout_alone"):
        paired = Paired(**summary["paired"][name])
        gain = summary["test_accuracy"] - summary[f"{name}_accuracy"]
        assert paired.examples == len(kept(tmp_path / "run").right)
        assert (paired.won - paired.lost) / paired.examples == pytest.approx(gain)


def test_a_client_that_forgot_its_baseline_reports_no_pair(run, monkeypatch):
    send, sent = MeteredClientPool.send, []

    def forgetful(self, handler, message):
        sent.append(getattr(message, "subset", None))
        if handler == "evaluate" and sent.count("test") == 3:  # after zero-shot and the readout alone
            self.engine._memories["client-001"].part("right").clear()
        return send(self, handler, message)

    monkeypatch.setattr(MeteredClientPool, "send", forgetful)
    summary = run(rounds=1)
    others = sum(sum(c["test"]) for name, c in summary["clients"].items() if name != "client-001")
    assert {of["examples"] for of in summary["paired"].values()} == {others}


def test_runs_are_paired_whoever_holds_an_example():
    ours = ScoredExamples(np.array([5, 3, 9], np.uint64), np.array([True, False, True]))
    theirs = ScoredExamples(np.array([9, 5, 3], np.uint64), np.array([False, True, True]))
    assert ours.beside(theirs) == Paired(3, 1, 1)
    assert ours.beside(replace_examples(theirs, [9, 5, 4])) is None
    assert ours.beside(ScoredExamples(theirs.examples[:2], theirs.right[:2])) is None


def replace_examples(tested, examples):
    return tested._replace(examples=np.array(examples, np.uint64))


def test_fingerprints_follow_the_examples_alone(run, clients, tmp_path):
    run(rounds=0, folder=tmp_path / "one")
    run(rounds=0, folder=tmp_path / "same", clients=list(reversed(clients)))
    relabelled = replace(clients[0], test=replace(clients[0].test, labels=(clients[0].test.labels + 1) % 3))
    run(rounds=0, folder=tmp_path / "other", clients=[relabelled, *clients[1:]])
    one, same, other = (kept(tmp_path / name) for name in ("one", "same", "other"))
    assert one.beside(same) == Paired(len(one.right), 0, 0)
    assert one.beside(other) is None


def test_damage_is_noticed(run, tmp_path):
    run(rounds=0)
    path = tmp_path / "run" / "clients" / "tested.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(RunError, match="has changed since the run wrote it"):
        kept(tmp_path / "run")

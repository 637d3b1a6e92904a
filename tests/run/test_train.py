"""A run in this process: what it asks, what it counts, and what it does where the model does not answer."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from fedbbpt.engines.serial import Serial
from fedbbpt.errors import BackendError, BudgetError
from fedbbpt.prompts.affine import Affine
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run import checkpoint, loop
from fedbbpt.run.metrics import read_metrics
from fedbbpt.types import Statistics


@pytest.mark.parametrize(
    ("readout", "rounds", "splits"),
    [(LinearReadout, 20, ("train", "validation", "test")), (Identity, 0, ("validation", "test"))],
)
def test_without_a_prompt_every_image_is_asked_about_once(run, make_watch, clients, readout, rounds, splits) -> None:
    summary = run(rounds=rounds, tuned=(NoPrompt, readout), callback=(watch := make_watch()))
    images = sum(len(getattr(client, split)) for client in clients for split in splits)
    assert summary["queries"] == images == summary["queries_by_purpose"]["baseline"]
    assert sum(summary["queries_by_purpose"].values()) == images == sum(run.backends[0].calls)
    assert watch.plans[0].exact
    assert watch.plans[0].total[:2] == (summary["queries"], summary["requests"])
    if rounds == 0:
        assert summary["zero_shot_accuracy"] == summary["test_accuracy"]


@pytest.mark.parametrize("algorithm", ["fedavg", "local"])
def test_without_a_prompt_a_resumed_run_asks_about_every_image_once_too(
    run, make_watch, clients, algorithm, tmp_path, outcome
) -> None:
    settings = {"tuned": (NoPrompt, LinearReadout), "rounds": 5, "algorithm": {"name": algorithm}}
    whole = run(**settings, folder=tmp_path / "whole")
    watch = make_watch(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(**settings, callback=watch)
    run(**settings, callback=watch)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    seen = [image for backend in run.backends[1:] for image in backend.seen]
    assert len(seen) == len(set(seen)) == whole["queries"]
    assert [plan.total.queries for plan in watch.plans] == [whole["queries"]] * 2


def test_majority_and_macro_f1_are_those_of_the_counts(run) -> None:
    summary = run()
    counts = np.array(summary["confusion"]["test"])
    assert summary["majority_accuracy"] == counts.sum(1).max() / counts.sum()
    truth, given = (np.repeat(labels.ravel(), counts.ravel()) for labels in np.indices(counts.shape))
    assert summary["test_macro_f1"] == pytest.approx(f1_score(truth, given, average="macro"))


def _some(inputs):
    return inputs.sum((1, 2, 3)) % 0.1 < 0.03


def test_single_failures_are_survived_and_counted_as_wrong(run) -> None:
    summary = run(fails=_some)
    assert 0 < summary["test_accuracy"] < 1
    answered = np.sum(summary["confusion"]["test"])
    assert answered < sum(sum(c["test"]) for c in summary["clients"].values())


def test_a_model_that_never_answers_is_said_before_the_first_round(run) -> None:
    with pytest.raises(BackendError, match="none of the queries for the validation data"):
        run(fails=lambda inputs: np.ones(len(inputs), bool))


@pytest.mark.parametrize(
    ("algorithm", "most"),
    [
        ({"name": "ensemble", "num_prompts": 3}, 500),
        ({"name": "fedavg", "server_optimizer": "adam"}, 150),
        ({"name": "local"}, 150),
    ],
)
def test_a_model_that_stops_answering_stops_the_run_and_loses_nothing(run, algorithm, most, tmp_path: Path) -> None:
    undisturbed = tmp_path / "run"
    expected = {k: v for k, v in run(algorithm=algorithm).items() if k != "seconds"}
    undisturbed.rename(tmp_path / "undisturbed")
    asked = []

    def after_a_while(inputs):
        asked.append(len(inputs))
        return np.full(len(inputs), sum(asked) > most)

    with pytest.raises(BackendError, match="continue with --resume"):
        run(fails=after_a_while, algorithm=algorithm)
    progress, _ = checkpoint.load_last(tmp_path / "run" / "checkpoints")
    assert progress is not None
    assert 0 < progress.state.round < 3
    assert {k: v for k, v in run(algorithm=algorithm).items() if k != "seconds"} == expected
    last = [checkpoint.load_last(folder / "checkpoints")[0] for folder in (tmp_path / "run", tmp_path / "undisturbed")]
    for part in ("parameters", "opt_state"):
        resumed, whole = (getattr(one.state, part) for one in last)
        assert resumed.keys() == whole.keys()
        assert all(resumed[name].tobytes() == whole[name].tobytes() for name in whole)


@pytest.mark.parametrize(
    ("algorithm", "prompts"),
    [
        ({"num_prompts": 8}, 4),
        ({}, 1),
        ({"name": "fedavg"}, 1),
        ({"name": "flood"}, 1),
        ({"name": "local"}, 1),
        ({"name": "gossip"}, 2),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_the_plan_is_what_is_asked_but_for_the_test_of_an_early_round(
    run, make_watch, monkeypatch: pytest.MonkeyPatch, algorithm, prompts, early
) -> None:
    select = loop.select_best

    def select_best(result, state, best, selection, *_):
        return best if best and early else select(result, state, None, selection)

    monkeypatch.setattr(loop, "select_best", select_best)
    watch = make_watch()
    summary = run(algorithm=algorithm, callback=watch)
    planned, tests = watch.plans[0], 27
    assert summary["best_round"] == (0 if early else 3)
    assert planned.test.queries == prompts * tests
    asked = (1 if early and algorithm.get("name") != "gossip" else prompts) * tests  # there, the mean is tested, too
    assert summary["queries"] == planned.total.queries - planned.test.queries + asked
    assert summary["queries_by_purpose"]["test"] == asked
    assert sum(summary["queries_by_purpose"].values()) == summary["queries"]


@pytest.mark.parametrize(("most", "rounds"), [(555, 1), (994, 1), (995, 2), (1449, 2), (1450, 3)])
def test_a_budget_pays_for_whole_rounds_with_all_their_prompts(run, make_watch, most, rounds) -> None:
    watch = make_watch()
    population = {"population_size": 16}  # 16 · 23 questions a round, and 23 before the first
    summary = run(max_queries=most, optimizer=population, algorithm={"num_prompts": 8}, callback=watch)
    assert summary["rounds"] == rounds
    assert summary["queries"] <= watch.plans[0].total.queries <= most


def test_a_budget_that_does_not_pay_for_a_round_is_refused(run) -> None:
    with pytest.raises(BudgetError, match="max_queries=554 is too little: with 1 round of training it takes 555"):
        run(max_queries=554, optimizer={"population_size": 16}, algorithm={"num_prompts": 8})


def test_the_readout_alone_is_fitted_once_by_all_clients(run) -> None:
    summary = run(rounds=1)
    assert summary["readout_alone_accuracy"] is not None
    assert "readout_alone_rounds" not in summary


def test_the_readout_alone_is_fitted_however_seldom_a_run_is_scored(run, tmp_path: Path) -> None:
    one = {"algorithm": {"name": "fedavg"}, "optimizer": {"name": "spsa"}}
    often, seldom = (run(rounds=4, evaluate_every=k, folder=tmp_path / str(k), **one) for k in (1, 4))
    assert often["readout_alone_accuracy"] == seldom["readout_alone_accuracy"] != seldom["zero_shot_accuracy"]
    assert often["exchanges"] > seldom["exchanges"] + 3 + 3  # scores, and fits


def test_rounds_without_a_look_at_the_validation_data(run, tmp_path: Path) -> None:
    seen = run(rounds=5, evaluate_every=2)
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [("null" in row.split('"train_loss"')[0]) for row in rows[:-1]] == [False, True, False, True, False, False]
    kept = [json.loads(row)["round"] for row in rows[:-1] if json.loads(row)["is_best"]]
    assert kept[0] == 0
    assert kept[-1] == seen["best_round"]
    assert seen["best_round"] in (0, 2, 4, 5)


@pytest.mark.parametrize("tuned", [(Affine, LinearReadout), (NoPrompt, LinearReadout)])
def test_a_run_that_gets_no_better_ends_early_and_counts_what_it_took(run, tmp_path, tuned) -> None:
    summary = run(rounds=30, patience=2, tuned=tuned)
    assert summary["ended"].startswith(f"early, after {summary['rounds']} of 30 rounds: 2 (patience)")
    assert sum(summary["queries_by_purpose"].values()) == summary["queries"]
    assert f"The run ended {summary['ended']}." in (tmp_path / "run" / "report.html").read_text()
    resumed = run(rounds=30, patience=2, tuned=tuned)
    assert resumed | {"seconds": 0} == summary | {"seconds": 0}


def test_a_run_that_was_stopped_ends_where_it_would_have(run, make_watch, tmp_path) -> None:
    whole = run(rounds=30, patience=2)
    (tmp_path / "run").rename(tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        run(rounds=30, patience=2, callback=make_watch(stop_at=whole["rounds"] - 1))
    assert run(rounds=30, patience=2) | {"seconds": 0} == whole | {"seconds": 0}


@pytest.mark.parametrize("algorithm", ["ensemble", "fedavg"])
def test_a_client_that_sends_nan_is_left_out_named_and_counted(
    run, make_watch, clients, tmp_path, monkeypatch, algorithm
) -> None:
    send, watch = Serial.send, make_watch(stop_at=2)

    def first_sends_nan(self, call, chosen, on_dropped=None):
        for client, reply in zip(chosen, send(self, call, chosen, on_dropped), strict=True):
            bad = call.message.round > 1 and client == clients[0].id and isinstance(reply, Statistics)
            yield Statistics(reply.values * np.float32("nan")) if bad and len(reply.values) else reply

    monkeypatch.setattr(Serial, "send", first_sends_nan)
    settings = {"algorithm": {"name": algorithm}}
    with pytest.raises(KeyboardInterrupt):
        run(callback=watch, **settings)
    resumed = run(callback=watch, **settings)
    (tmp_path / "run").rename(tmp_path / "resumed")
    summary = run(callback=watch, **settings)
    first = clients[0].id
    assert resumed["left_out"] == summary["left_out"] == {first: 2}
    assert resumed["test_accuracy"] == summary["test_accuracy"]
    assert resumed["confusion"] == summary["confusion"]
    assert f"{first} is left out of round 3: it sent NaN or infinity in statistics" in watch.messages
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row.get("left_out", {}).keys() == {first} for row in rows] == [False, False, True, True, False]


def test_if_all_clients_send_nan_the_run_names_them(run, monkeypatch) -> None:
    send = Serial.send

    def all_send_nan(self, call, clients, on_dropped=None):
        for reply in send(self, call, clients, on_dropped):
            yield Statistics(reply.values * np.float32("nan")) if isinstance(reply, Statistics) else reply

    monkeypatch.setattr(Serial, "send", all_send_nan)
    with pytest.raises(BackendError, match=r"no client of round 1 sent a usable reply \(client"):
        run()

"""A run in this process, on a model that does not always answer."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from fedbbpt.backend import Provider
from fedbbpt.config import make_config
from fedbbpt.errors import BackendError, BudgetError
from fedbbpt.prompts.affine import Affine
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run import again, checkpoint, train
from fedbbpt.run.callback import Callback
from fedbbpt.run.client_pool import CountedExchange
from fedbbpt.run.metrics import read_metrics
from fedbbpt.run.query_budget import QueryPlan
from fedbbpt.run.setup import Experiment
from fedbbpt.types import Sums


class Watch(Callback):
    """Keeps plans and messages; stops a run once, at the validation row of a round."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.plans: list[QueryPlan] = []
        self.messages: list[str] = []
        self.stop_at = stop_at

    def on_plan(self, plan, experiment, rounds_done) -> None:
        self.plans.append(plan)

    def on_message(self, text) -> None:
        self.messages.append(text)

    def on_round(self, row) -> None:
        if row["round"] == self.stop_at:
            self.stop_at = None
            raise KeyboardInterrupt


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, make_backend, clients, tmp_path: Path) -> Callable[..., dict]:
    """Trains on the fake backend, or goes on where it stopped; `fails` as in the fake backend."""

    def go(fails=None, rounds=3, tuned=(Affine, LinearReadout), callback=train.NO_CALLBACK, **settings):
        backend = make_backend(fails=fails)
        unprompted = {"prompt": {"name": "none"}} if tuned[0] is NoPrompt else {}
        config = make_config({"rounds": rounds, "backend": {"name": "local-vit"}, **unprompted, **settings})
        tuned = tuned[0]((8, 8)), tuned[1](backend.info, backend.info.classes)
        task = SimpleNamespace(
            classes=backend.info.classes, modality="image", source=None, provider=Provider(backend.info.classes)
        )
        experiment = Experiment(config, task, backend, *tuned, clients)
        for module in (train, again):
            monkeypatch.setattr(module, "open_experiment", lambda *_: experiment)
        begun = (tmp_path / "run" / "config.toml").exists()
        folder = tmp_path / "run"
        return train.resume(folder, callback) if begun else train.train(config, folder, callback)

    return go


@pytest.mark.parametrize(
    ("readout", "rounds", "splits"),
    [(LinearReadout, 20, ("train", "validation", "test")), (Identity, 0, ("validation", "test"))],
)
def test_without_a_prompt_every_image_is_asked_about_once(run, clients, readout, rounds, splits) -> None:
    summary = run(rounds=rounds, tuned=(NoPrompt, readout))
    images = sum(len(getattr(client, split)) for client in clients for split in splits)
    assert summary["queries"] == images == summary["queries_by_purpose"]["baseline"]
    assert sum(summary["queries_by_purpose"].values()) == images
    if rounds == 0:
        assert summary["zero_shot_accuracy"] == summary["test_accuracy"]


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
    "algorithm",
    [{"name": "ensemble", "num_prompts": 3}, {"name": "fedavg", "server_optimizer": "adam"}, {"name": "local"}],
)
def test_a_model_that_stops_answering_stops_the_run_and_loses_nothing(run, algorithm, tmp_path: Path) -> None:
    undisturbed = tmp_path / "run"
    expected = {k: v for k, v in run(algorithm=algorithm).items() if k != "seconds"}
    undisturbed.rename(tmp_path / "undisturbed")
    asked = []

    def after_a_while(inputs):
        asked.append(len(inputs))
        return np.full(len(inputs), sum(asked) > 500)

    with pytest.raises(BackendError, match="continue with --resume"):
        run(fails=after_a_while, algorithm=algorithm)
    progress, _ = checkpoint.load_last(tmp_path / "run" / "checkpoints")
    assert progress is not None
    assert 0 < progress.state.round < 3
    assert {k: v for k, v in run(algorithm=algorithm).items() if k != "seconds"} == expected
    last = [checkpoint.load_last(folder / "checkpoints")[0] for folder in (tmp_path / "run", tmp_path / "undisturbed")]
    for part in ("parameters", "memory"):
        resumed, whole = (getattr(one.state, part) for one in last)
        assert resumed.keys() == whole.keys()
        assert all(resumed[name].tobytes() == whole[name].tobytes() for name in whole)


@pytest.mark.parametrize("algorithm", ["ensemble", "fedavg", "local"])
@pytest.mark.parametrize("early", [False, True])
def test_the_plan_is_what_is_asked_but_for_the_test_of_an_early_round(
    run, monkeypatch: pytest.MonkeyPatch, algorithm, early
) -> None:
    better = train.better
    keep = (lambda result, state, best, keeps: best or better(result, state, None, keeps)) if early else None
    monkeypatch.setattr(train, "better", keep or (lambda result, state, _, keeps: better(result, state, None, keeps)))
    watch = Watch()
    summary = run(algorithm={"name": algorithm}, callback=watch)
    planned, tests = watch.plans[0], 27
    assert summary["best_round"] == (0 if early else 3)
    views = 4 if algorithm == "ensemble" else 1
    assert planned.test.queries == views * tests
    asked = (1 if early else views) * tests
    assert summary["queries"] == planned.total.queries - planned.test.queries + asked
    assert summary["queries_by_purpose"]["test"] == asked
    assert sum(summary["queries_by_purpose"].values()) == summary["queries"]


@pytest.mark.parametrize(("most", "rounds"), [(555, 1), (994, 1), (995, 2), (1449, 2), (1450, 3)])
def test_a_budget_pays_for_whole_rounds_with_all_their_views(run, most, rounds) -> None:
    watch = Watch()
    population = {"population_size": 16}  # 16 · 23 questions a round, and 23 before the first
    summary = run(max_queries=most, optimizer=population, callback=watch)
    assert summary["rounds"] == rounds
    assert summary["queries"] <= watch.plans[0].total.queries <= most


def test_a_budget_that_does_not_pay_for_a_round_is_refused(run) -> None:
    with pytest.raises(BudgetError, match="max_queries=554 is too little: with 1 round of training it takes 555"):
        run(max_queries=554, optimizer={"population_size": 16})


def test_the_readout_alone_is_fitted_once_by_all_clients(run) -> None:
    summary = run(rounds=1)
    assert summary["readout_alone_accuracy"] is not None
    assert "readout_alone_rounds" not in summary


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


def test_a_run_that_was_stopped_ends_where_it_would_have(run, tmp_path) -> None:
    whole = run(rounds=30, patience=2)
    (tmp_path / "run").rename(tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        run(rounds=30, patience=2, callback=Watch(stop_at=whole["rounds"] - 1))
    assert run(rounds=30, patience=2) | {"seconds": 0} == whole | {"seconds": 0}


@pytest.mark.parametrize("algorithm", ["ensemble", "fedavg"])
def test_a_client_that_sends_nan_is_left_out_named_and_counted(run, clients, tmp_path, monkeypatch, algorithm) -> None:
    exchange, watch = CountedExchange.__call__, Watch(stop_at=2)

    def first_sends_nan(self, work, message):
        replies = exchange(self, work, message)
        if message.round > 1 and isinstance(replies[0], Sums):
            replies[0] = Sums(replies[0].values * np.float32("nan"))
        return replies

    monkeypatch.setattr(CountedExchange, "__call__", first_sends_nan)
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
    exchange = CountedExchange.__call__

    def all_send_nan(self, work, message):
        replies = exchange(self, work, message)
        return [Sums(r.values * np.float32("nan")) if isinstance(r, Sums) else r for r in replies]

    monkeypatch.setattr(CountedExchange, "__call__", all_send_nan)
    with pytest.raises(BackendError, match=r"no client of round 1 sent a usable reply \(client"):
        run()

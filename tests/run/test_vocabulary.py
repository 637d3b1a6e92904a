"""Words that a prompt learns from the clients before a run, from the table to the prediction."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.backend import Backend, BackendInfo, BackendOutput
from fedbbpt.config import make_config
from fedbbpt.data.ngrams import NgramCounts, build_vocabulary, count_ngrams
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, DataError
from fedbbpt.run import train, vocabulary
from fedbbpt.run.callback import Callback
from fedbbpt.run.query_budget import plan_queries
from fedbbpt.run.settings import load_run_settings
from fedbbpt.run.simulation import open_simulation
from fedbbpt.tuned.loading import load
from fedbbpt.types import Client, Dataset


class Reader(Backend):
    """Knows "fine" from "dull", and is the surer of it the more often a text says "film"."""

    modalities = ("text",)
    silent = False

    def __init__(self, provider, /):
        self.info = BackendInfo("reader", None, provider.classes, "logits", 64)

    def query(self, inputs):
        said = [text.split() for text in inputs]
        sure = [0.2 + 0.5 * text.count("film") for text in said]
        scores = [[by * text.count("dull"), by * text.count("fine")] for by, text in zip(sure, said, strict=True)]
        return BackendOutput(
            np.full((len(said), 2), np.nan, np.float32) if self.silent else np.array(scores, np.float32)
        )


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict]:
    """`settings(vocabulary=…)`: of a run on a table of reviews, with options of the prompt."""
    load = registry.load
    own = {("backends", "reader"): Reader}
    monkeypatch.setattr(registry, "load", lambda kind, name: own.get((kind, name)) or load(kind, name))
    rng = np.random.default_rng(0)
    rows = ["text,label"]
    for i in range(300):
        mood = ("dull", "fine")[i % 2]
        rows.append(f"{mood} {' '.join(rng.choice(['the', 'film', 'plot', 'of'], 5))} a New York tale no{i},{mood}")
    (tmp_path / "reviews.csv").write_text("\n".join(rows) + "\n")

    def build(**options) -> dict:
        return {
            "rounds": 8,
            "data": {"clients": 3, "shots_per_class": 12},
            "task": {"name": f"csv:{tmp_path / 'reviews.csv'}", "provider_shots_per_class": 2},
            "backend": {"name": "reader"},
            "prompt": {"name": "discrete", "num_tokens": 3, "vocabulary_size": 12} | options,
            "readout": {"name": "identity"},
            "optimizer": {"name": "bdpl"},
        }

    return build


@pytest.fixture
def run(tmp_path: Path, settings) -> Callable[..., dict]:
    """Trains into a folder of this name."""
    return lambda name="run", **options: train.train(make_config(settings(**options)), tmp_path / name)


def facts(folder: Path) -> tuple[list, str]:
    """What a run cost and found, but for the seconds, and its config."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows], (
        folder / "config.toml"
    ).read_text()


def test_the_words_are_those_of_all_clients_training_texts(settings) -> None:
    experiment = open_simulation(make_config(settings()))
    learned = experiment.config.prompt.options["vocabulary"]
    assert learned == build_vocabulary([count_ngrams(client.train.inputs) for client in experiment.clients], 12)
    assert len(learned) == 12 == experiment.prompt.choices
    assert {"film", "new york"} <= set(learned)
    assert not any(word.startswith("no") for word in learned)  # each stands in one text only
    assert (planned := plan_queries(experiment)).training.queries == 8 * 20 * 24
    assert planned.most_exchanges == 1 + 8 + 9 + 1 + 1  # words, rounds, validation, test, zero-shot


def test_nobody_counts_what_is_not_for_training(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(vocabulary, "count_ngrams", lambda texts: counted.append(list(texts)) or count_ngrams(texts))
    experiment = open_simulation(make_config(settings()))
    assert counted == [list(client.train.inputs) for client in experiment.clients]


def test_a_run_learns_writes_down_uses_and_predicts_with_them(run, tmp_path: Path) -> None:
    summary = run()
    rows, _ = facts(tmp_path / "run")
    assert min(row["loss"] for row in rows) < 0.6 * rows[0]["loss"]
    assert summary["test_accuracy"] == 1
    assert len(load_run_settings(tmp_path / "run")["prompt"]["vocabulary"]) == 12
    (tmp_path / "new.txt").write_text("a fine tale")
    model = load(tmp_path / "run")
    assert model.predict(tmp_path / "new.txt") == "fine"
    assert model.predict_proba("a fine tale").max() > 0.6


def test_what_was_told_for_the_words_is_counted(run, settings, tmp_path: Path) -> None:
    run("learned")
    (learned, written), config = facts(tmp_path / "learned"), load_run_settings(tmp_path / "learned")
    given = config["prompt"]["vocabulary"][::-1]  # the same as many bytes, but nobody had to tell them
    run("given", vocabulary=given)
    other, _ = facts(tmp_path / "given")
    counts = [count_ngrams(client.train.inputs).to_bytes() for client in open_simulation(make_config(config)).clients]
    assert learned[0]["bytes_up"] - other[0]["bytes_up"] == sum(map(len, counts))
    down = len(json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode())
    assert learned[0]["bytes_down"] - other[0]["bytes_down"] == 3 * down
    assert learned[0]["exchanges"] == other[0]["exchanges"] + 1
    assert sum(map(len, counts)) < 3 * 2000
    assert "vocabulary = [" in written
    assert all(isinstance(NgramCounts.from_bytes(data), NgramCounts) for data in counts)


def test_a_resumed_run_does_not_count_again(run, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("whole")

    class Stop(Callback):
        def on_round(self, row) -> None:
            if row["round"] == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(make_config(settings()), tmp_path / "stopped", Stop())
    monkeypatch.setattr(vocabulary, "count_ngrams", None)
    train.resume(tmp_path / "stopped")
    assert facts(tmp_path / "stopped") == facts(tmp_path / "whole")


def test_a_run_stopped_before_its_first_checkpoint_still_counts_the_bytes(
    run, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("whole")
    monkeypatch.setattr(Reader, "silent", True)
    with pytest.raises(BackendError, match="none of the queries"):
        run("stopped")
    monkeypatch.setattr(Reader, "silent", False)
    train.resume(tmp_path / "stopped")
    assert facts(tmp_path / "stopped") == facts(tmp_path / "whole")


def test_texts_that_repeat_nothing_are_refused_with_a_way_out(settings) -> None:
    texts = Dataset(
        as_texts(["all of this", "comes once film film"]), np.arange(2)
    )  # but for a word, of which one is few
    with pytest.raises(
        DataError, match=r"more --shots-per-class or fewer --clients, or name the words: -o 'prompt\.vocabulary="
    ):
        vocabulary.with_vocabulary(make_config(settings()), 2 * [Client("me", texts, texts, texts)])

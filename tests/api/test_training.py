"""`fedbbpt.train`, `fedbbpt.resume` and what they return."""

import json
from pathlib import Path

import numpy as np
import pytest

import fedbbpt
from fedbbpt.errors import ConfigError, DataError, RunError, UnknownName
from fedbbpt.run.callback import Callback

pytestmark = pytest.mark.usefixtures("backends")

QUICK = {"backend": "colours", "prompt": "affine", "rounds": 1, "data": {"shots_per_class": 4}, "progress": False}


class Seen(Callback):
    """Keeps the rounds that it is told of; stops a run once, after one of them."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.rounds: list[int] = []
        self.ended = 0
        self._stop_at = stop_at

    def on_round(self, row) -> None:
        self.rounds.append(row["round"])
        if row["round"] == self._stop_at:
            raise KeyboardInterrupt

    def on_summary(self, summary) -> None:
        self.ended += 1


def test_a_run_knows_its_results_and_shows_its_report(image_run: Path) -> None:
    run = fedbbpt.Run(image_run)
    assert run.test_accuracy == run.summary["test_accuracy"] > 0.8
    assert run.metrics[0]["round"] == 0
    assert run.report.read_text().startswith("<!doctype html>")
    shown = run._repr_html_()
    assert shown.startswith("<p><code>")
    assert shown.count("<iframe") == 1
    assert "<script" not in shown  # the report's own is escaped
    assert run.load(max_queries=3).classes == ("blue", "green", "red")


def test_data_from_python_stay_beside_the_run(pictures, tmp_path: Path) -> None:
    images, labels = pictures
    (tmp_path / "a").mkdir()
    images[0].save(tmp_path / "a" / "x.bmp")
    mixed = [tmp_path / "a" / "x.bmp", np.asarray(images[1]), *images[2:]]
    run = fedbbpt.train(images=mixed, labels=labels, clients=2, out=tmp_path / "run", **QUICK)
    assert len(list((tmp_path / "run" / "data").rglob("*.png"))) == 89
    assert (tmp_path / "run" / "data" / "red" / "000000.bmp").exists()
    assert len(run.summary["clients"]) == 2
    with pytest.raises(RunError, match="already holds a run"):
        fedbbpt.train(images=images, labels=labels, out=tmp_path / "run", **QUICK)


def test_clients_with_names_hold_what_is_theirs(pictures, tmp_path: Path) -> None:
    owners = ["north" if i < 60 else "south" for i in range(90)]
    images, labels = pictures
    run = fedbbpt.train(images=images, labels=labels, clients=np.array(owners), out=tmp_path / "run", **QUICK)
    assert set(run.summary["clients"]) == {"north", "south"}
    texts = [f"a {mood} day no {i}" for i in range(40) for mood in ("dull", "fine")]
    settings = QUICK | {"backend": "reader", "prompt": "none"}
    owners = ["north" if i % 4 < 2 else "south" for i in range(80)]
    labels = ["fine" if "fine" in text else "dull" for text in texts]
    run = fedbbpt.train(texts=texts, labels=labels, clients=owners, out=tmp_path / "texts", **settings)
    assert set(run.summary["clients"]) == {"north", "south"}
    assert {path.name for path in (tmp_path / "texts" / "data").iterdir()} == {"north.jsonl", "south.jsonl"}


def test_a_run_that_was_stopped_is_resumed_to_the_same_bits(pictures, tmp_path: Path, outcome) -> None:
    images, labels = pictures
    settings = QUICK | {"rounds": 3, "images": images, "labels": labels, "out": tmp_path / "run"}
    fedbbpt.train(**settings)
    (tmp_path / "run").rename(tmp_path / "whole")
    seen, after = Seen(stop_at=1), Seen()
    with pytest.raises(KeyboardInterrupt):
        fedbbpt.train(callbacks=[seen], **settings)
    assert fedbbpt.resume(tmp_path / "run", callbacks=[after], progress=False).folder == tmp_path / "run"
    assert seen.rounds == [0, 1]
    assert set(after.rounds) >= {2, 3}
    assert (seen.ended, after.ended) == (0, 1)
    assert outcome(tmp_path / "whole") == outcome(tmp_path / "run")


def test_progress_is_printed_unless_unwanted(pictures, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = pictures
    fedbbpt.train(images=images, labels=labels, out=tmp_path / "quiet", **QUICK)
    assert capsys.readouterr().out == ""
    fedbbpt.train(images=images, labels=labels, out=tmp_path / "told", **QUICK | {"progress": True})
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"task": "digits", "images": [1], "labels": [1]}, ConfigError, "give one of these"),
        ({"images": ["x.png"]}, ConfigError, "give one of these"),
        ({"labels": [1]}, ConfigError, "give one of these"),
        ({"task": {"provider_shots_per_class": 3}}, ConfigError, "give one of these"),
        ({"task": "digits", "clients": ["a", "b"]}, ConfigError, "clients= is a number where"),
        ({"texts": ["a", "b"], "labels": ["x"]}, DataError, "2 inputs, 1 labels"),
        ({"texts": [], "labels": []}, DataError, "got none"),
        ({"texts": ["a"], "labels": [None]}, DataError, "a label is missing"),
        ({"texts": [" "], "labels": ["a"]}, DataError, "text 0 holds no text"),
        ({"images": [np.zeros((3, 3), np.uint8)], "labels": ["test"]}, DataError, "cannot name a folder"),
        ({"images": ["gone.png"], "labels": ["a"]}, DataError, "cannot read gone.png"),
        ({"task": "digits", "ronds": 3}, UnknownName, "ronds"),
        ({"task": "digits", "backend": "colors"}, UnknownName, "colours"),
    ],
)
def test_what_makes_no_run_is_refused_and_leaves_nothing(given, error, says, tmp_path: Path) -> None:
    settings = {key: value for key, value in QUICK.items() if key not in given}
    with pytest.raises(error, match=says):
        fedbbpt.train(out=tmp_path / "run", **given, **settings)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith(".")]


def test_names_of_components_are_their_tables(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="weights goes with model=timm"):
        fedbbpt.train("digits", backend={"name": "local-vit", "weights": "gone"}, out=tmp_path / "run")


def test_the_face_is_light_and_complete() -> None:
    assert {"train", "resume", "load", "Run", "TunedModel", "PromptClassifier"} <= set(dir(fedbbpt))
    assert fedbbpt.train.__module__ == "fedbbpt.api.training"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        fedbbpt.trian  # noqa: B018
    assert json.dumps(fedbbpt.__all__)

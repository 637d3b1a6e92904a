"""The report of small real runs against a model made of numpy: its numbers, its texts and its pictures."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedbbpt import registry
from fedbbpt.backend import Answers, BackendInfo, Provider
from fedbbpt.data import Pool
from fedbbpt.data.partition import deal
from fedbbpt.engines.serial import Serial
from fedbbpt.errors import RunError
from fedbbpt.run import charts, report, train
from fedbbpt.run.config import Choice, Config, Data
from fedbbpt.run.metrics import read_metrics
from fedbbpt.run.session import Session
from fedbbpt.types import Dataset

SIZE = (8, 8)
VOID = {"meta", "img"}


class Brightness:
    """A model that knows its classes by their mean brightness."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.info = BackendInfo("brightness", SIZE, classes, "logits", 16)
        self.asked = 0

    def query(self, inputs: np.ndarray) -> Answers:
        self.asked += len(inputs)
        centres = np.linspace(0.2, 0.8, len(self.info.classes))
        distance = inputs.mean((1, 2, 3))[:, None] - centres
        return Answers((-40 * distance**2).astype(np.float32))


class Shades:
    """Noisy pictures, a brightness a class."""

    argument = None
    alpha = 1.0

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.provider = Provider(classes)

    def load(self, size: tuple[int, int]) -> Pool:
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(len(self.classes)), 8)
        noise = rng.integers(-30, 30, (len(labels), 3, *size))
        shade = np.linspace(60, 190, len(self.classes))[labels]
        data = Dataset((shade[:, None, None, None] + noise).astype(np.uint8), labels)
        return Pool(data, data)


class Run:
    """A finished run with its report."""

    def __init__(self, out: Path, session: Session) -> None:
        self.out, self.session = out, session
        self.write()

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.out / "summary.json").read_text())

    def change(self, **values: Any) -> None:
        """Writes the report of a run with another summary."""
        (self.out / "summary.json").write_text(json.dumps(self.summary | values))
        self.write()

    def write(self) -> None:
        path = report.write_report(self.out, self.session, train.kept(self.out, self.session))
        assert path == self.out / "report.html"
        self.html = path.read_text("utf-8")
        self.page = Page(self.html)


class Page(HTMLParser):
    """Checks that tags are balanced; collects texts, attributes and tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))

    def all(self, tag: str, style: str = "") -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and style in (a.get("class") or "").split() + [""]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def make(prompt="dct", readout="head", classes=("dark", "grey", "light"), known=None, **settings) -> Run:
        names = {"prompt": prompt, "readout": readout, "optimizer": "spsa", "algorithm": "fedavg"}
        options = {"dct": {"frequencies": 2}, "fedavg": {"local_steps": 2}}
        choices = {section: Choice(name=name, options=options.get(name, {})) for section, name in names.items()}
        for section in ("backend", "task", "engine"):
            choices[section] = Choice(name="fake", options={})
        data = Data(clients=settings.pop("clients", 3), shots=4, validation_shots=2)
        config = Config(**{"rounds": 3} | settings, data=data, **choices)
        backend, task = Brightness(known or classes), Shades(classes)
        clients = deal(task.load(SIZE), clients=data.clients, alpha=1.0, shots=4, validation_shots=2, seed=1)
        session = Session(
            config,
            task,
            backend,
            registry.load("prompts", prompt)(SIZE, **choices["prompt"].options),
            registry.load("readouts", readout)(backend.info, classes),
            clients,
            Serial(),
        )
        monkeypatch.setattr(train, "open_session", lambda config: session)
        train.train(config, tmp_path / "run")
        return Run(tmp_path / "run", session)

    return make


def tiles(page: Page) -> list[str | None]:
    return [attributes["title"] for tag, attributes in page.tags if tag == "div" and "title" in attributes]


def test_numbers_are_those_of_the_summary(make) -> None:
    run = make()
    s = run.summary
    exact = [str(s["test_accuracy"]), str(s["zero_shot_accuracy"]), f"{s['queries']} queries", f"{s['calls']} calls"]
    exact += [f"{s['bytes_up']:,} bytes", f"{s['bytes_down']:,} bytes", f"{s['seconds']:.3f} seconds"]
    assert tiles(run.page) == exact
    for key in ("test_accuracy", "zero_shot_accuracy", "readout_alone_accuracy"):
        assert f" {100 * s[key]:.1f} % " in run.page.text
    for purpose, queries in s["queries_by_purpose"].items():
        assert re.search(rf"{purpose} ?{purpose}: {queries:,}{queries:,}", run.page.text)
    for name, client in s["clients"].items():
        assert f"training labels of {name}" in run.html
        shown = rf"{name} .*?{sum(client['train'])}\s*{sum(client['validation'])}\s*{sum(client['test'])} "
        assert re.search(shown + rf"{100 * client['zero_shot_accuracy']:.1f} %\s*", run.page.text)
    for i, row in enumerate(s["confusion"]["test"]):
        for j, count in enumerate(row):
            tip = f"{s['classes'][i]} taken for {s['classes'][j]}: {count} of {sum(row)} "
            assert (tip in run.page.text) == (count > 0)
    assert f"round {s['kept_round']} of 3" in run.page.text or s["kept_round"] == 0
    assert s["queries"] == sum(s["queries_by_purpose"].values())
    assert 'name = "dct"' in run.page.text
    assert json.loads((run.out / "environment.json").read_text())["data_sha256"] in run.page.text


def test_writing_asks_nothing_of_the_model(make) -> None:
    run = make()
    before = run.session.backend.asked
    run.write()
    assert run.session.backend.asked == before == run.summary["queries"]


def test_page_needs_nothing_but_itself(make) -> None:
    page = make().page
    assert not page.all("script")
    assert not page.all("link")
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:")
        assert "http" not in (attributes.get("style") or "")
    assert not re.search(r"url\(|@import", "".join(page.texts))


def test_class_names_are_escaped(make) -> None:
    names = ("<b>dark</b>", "a\"&'b", "</svg><script>alert(1)</script>")
    run = make(classes=names)
    assert "<b>" not in run.html
    assert not run.page.all("script")
    for name in names:
        assert name in run.page.text
        assert f"original, class {name}" in [image["alt"] for image in run.page.all("img")]


@pytest.mark.parametrize(
    ("alone", "with_prompt", "expected"),
    [
        (0.25, 0.875, "The prompt added 62.5 percentage points to the readout alone (25.0 % → 87.5 %)."),
        (
            0.875,
            0.25,
            "The prompt did not beat the readout alone: it is 62.5 percentage points lower (87.5 % → 25.0 %).",
        ),
        (
            0.5,
            0.5,
            "did not beat the readout alone: they agree to a tenth of a percentage point (50.0 % → 50.0 %). Their",
        ),
        (
            0.5,
            0.5417,
            "added 4.2 percentage points to the readout alone (50.0 % → 54.2 %). Their 95 % intervals overlap",
        ),
        (None, 0.5, "Without a number for the readout alone, nothing can be said about what the prompt added."),
        (0.5, float("nan"), "Without a number for the readout alone, nothing can be said"),
    ],
)
def test_verdict_follows_the_numbers(make, alone: float | None, with_prompt: float, expected: str) -> None:
    run = make(rounds=1)
    run.change(readout_alone_accuracy=alone, test_accuracy=with_prompt)
    assert expected in run.page.text


def test_without_prompt_there_are_no_pictures(make) -> None:
    run = make(prompt="none")
    assert "What the readout added" in run.page.text
    assert "Readout alone this run: no prompt" in run.page.text
    assert "Prompt +" not in run.page.text
    assert not run.page.all("img")


def test_identity_is_compared_with_zero_shot(make) -> None:
    run = make(readout="identity")
    assert run.summary["readout_alone_accuracy"] is None
    assert "Prompt alone this run: no trained readout" in run.page.text
    assert "the zero-shot result" in run.page.text
    assert "Readout alone" not in run.page.text


def test_without_zero_shot_the_page_says_why(make) -> None:
    run = make(known=("x", "y", "z"))
    assert run.summary["zero_shot_accuracy"] is None
    assert "There is no zero-shot result, because the classes of the task" in run.page.text
    assert tiles(run.page)[1] == "no such result"
    assert "Zero-shot: confusion matrix" not in run.html
    assert "This run: confusion matrix" in run.html


def test_curves_leave_out_rounds_without_evaluation(make) -> None:
    run = make(rounds=5, evaluate_every=2)
    rows = [row for row in read_metrics(run.out / "metrics.jsonl") if row["split"] == "validation"]
    evaluated = [row for row in rows if row["accuracy"] is not None]
    assert len(evaluated) == 4
    assert len(rows) == 6
    assert len(run.page.all("circle", "validation")) == 4 * len(evaluated)
    assert len(run.page.all("circle", "training")) == 2 * 5
    for row in evaluated:
        assert f"validation, round {row['round']}: {100 * row['accuracy']:.4g}" in run.page.text
        assert f"validation, queries {row['queries']:,}: {row['loss']:.4g}" in run.page.text


def test_pictures_are_the_images_and_what_the_prompt_makes_of_them(make) -> None:
    run = make()
    session, theta = run.session, train.kept(run.out, run.session).parameters["prompt"]
    sources = [image["src"] for image in run.page.all("img")]
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(s.partition(",")[2])))) for s in sources]
    assert len(shown) == 3 * 3
    training = np.concatenate([client.train.inputs for client in session.clients])
    reach = 0.0
    for original, difference, prompted in zip(shown[::3], shown[1::3], shown[2::3], strict=True):
        picture = original.transpose(2, 0, 1)
        assert (training == picture).all((1, 2, 3)).any()
        expected = session.prompt.apply(theta[None], picture[None].astype(np.float32) / 255, None)[0]
        np.testing.assert_allclose(prompted.transpose(2, 0, 1), 255 * expected, atol=0.51)
        change = expected - picture / 255
        reach = max(reach, abs(change).max())
        np.testing.assert_array_equal(
            np.sign(change[abs(change) > 0.01]), np.sign(difference.transpose(2, 0, 1)[abs(change) > 0.01] - 127.5)
        )
    assert (f"±{reach:.2g}," in run.page.text) == (reach > 0.002)


def test_many_classes_have_no_names_on_charts(make) -> None:
    run = make(classes=tuple(f"class number {i}" for i in range(31)), rounds=1, clients=2)
    assert not run.page.all("li")
    assert len([t for t in run.page.texts if t.startswith("class numbe…")]) == 0
    assert "Most frequent errors of this run" in run.page.text
    assert len(run.page.all("img")) == 3 * report.PICTURES


def test_a_thousand_classes_and_a_hundred_clients_stay_a_small_page(make) -> None:
    run = make(rounds=1)
    rng = np.random.default_rng(0)
    confusion = (np.diag(rng.integers(0, 9, 1000)) + (rng.random((1000, 1000)) < 0.005)).tolist()
    one = {split: rng.integers(0, 2, 1000).tolist() for split in ("train", "validation", "test")}
    clients = {f"client-{i:03d}": one | {"test_accuracy": None, "zero_shot_accuracy": 0.5} for i in range(100)}
    names = [f"class {i}" for i in range(1000)]
    run.change(classes=names, clients=clients, confusion={"zero_shot": confusion, "test": confusion})
    assert len(run.html) < 8_000_000
    assert len(run.page.all("path", "heat")) <= 2 * 10


def test_unfinished_run_has_no_report(make) -> None:
    run = make(rounds=1)
    (run.out / "summary.json").unlink()
    with pytest.raises(RunError, match="no summary yet; finish the run"):
        run.write()


def test_figures_for_people() -> None:
    assert [report.size(n) for n in (0, 999, 1000, 283_904, 999_900, 5_120_000_000)] == [
        "0 B",
        "999 B",
        "1 kB",
        "284 kB",
        "1000 kB",
        "5.12 GB",
    ]
    assert [report.duration(s) for s in (0.123, 27.75, 200, 7500)] == ["0.123 s", "27.8 s", "3 min 20 s", "2 h 5 min"]
    assert report.percent(None) == "–"
    assert report.interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert report.interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("values", "whole", "expected"),
    [
        ([0, 15], True, [0, 5, 10, 15]),
        ([0, 1], True, [0, 1]),
        ([40, 77.5], False, [40, 50, 60, 70, 80]),
        ([100, 100], False, [80, 100]),
        ([0, 0], False, [0, 0.2]),
        ([], False, [0, 0.2]),
        ([0, 18520], True, [0, 5000, 10000, 15000, 20000]),
    ],
)
def test_ticks_are_round_and_enclose(values: list[float], whole: bool, expected: list[float]) -> None:
    assert charts.ticks(values, whole=whole) == pytest.approx(expected)


def test_tick_labels_have_the_digits_that_they_need() -> None:
    labels = [
        charts.tick_label(v, step)
        for v, step in ((0.25, 0.05), (3, 1), (900, 100), (15000, 5000), (0, 5e6), (2e6, 1e6))
    ]
    assert labels == ["0.25", "3", "900", "15k", "0", "2M"]


def test_thirty_classes_have_thirty_colours() -> None:
    colours = [charts.class_colour(i) for i in range(31)]
    assert len(set(colours)) == 30
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)

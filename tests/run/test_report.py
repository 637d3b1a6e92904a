"""The report of small real runs: its numbers, its texts and its pictures."""

import base64
import io
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fedbbpt import registry
from fedbbpt.backend import Provider
from fedbbpt.config import Config
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.errors import RunError
from fedbbpt.run import again, charts, environment, formatting, prompt_preview, report, train
from fedbbpt.run.metrics import read_metrics
from fedbbpt.run.setup import Experiment


class Run:
    """A finished run with its report."""

    def __init__(self, out, experiment):
        self.out, self.experiment = out, experiment
        self.write()

    def write(self, **changes):
        """Writes the report, of another summary where there are changes."""
        summary = self.out / "summary.json"
        if changes:
            summary.write_text(json.dumps(self.summary | changes))
            environment.add_result_checksums(self.out)
        path = report.write_report(self.out, self.experiment, again.load_best(self.out, self.experiment)[1])
        self.summary, self.html = json.loads(summary.read_text()), path.read_text("utf-8")
        self.page = Page(self.html)


class Page(HTMLParser):
    """Checks that tags are balanced; collects tags and texts, and the texts of tables by row and cell."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.tags = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join("".join(self.texts).split())
        rows = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in re.findall("<tr>.*?</tr>", html, re.DOTALL)]
        self.rows = [[" ".join(re.sub("<.*?>", "", unescape(cell)).split()) for cell in row] for row in rows]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open += [tag] if tag not in ("meta", "img") else []

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag, style=""):
        """The attributes of all such tags."""
        return [a for t, a in self.tags if t == tag and style in ["", *(a.get("class") or "").split()]]


@pytest.fixture
def make(tmp_path, monkeypatch, make_backend, clients):
    def make(
        prompt="dct",
        readout="linear",
        classes=("red", "green", "blue"),
        known=None,
        clients=clients,
        optimizer="spsa",
        algorithm="fedavg",
        **settings,
    ):
        names = {"backend": "fake", "task": "fake", "prompt": prompt, "readout": readout, "engine": "serial"}
        names |= {"optimizer": optimizer, "algorithm": algorithm}
        config = Config(
            **{"rounds": 3} | settings, **{k: ComponentConfig(name=v, options={}) for k, v in names.items()}
        )
        backend = make_backend(classes=known or classes)
        tuned = registry.load("prompts", prompt)((8, 8)), registry.load("readouts", readout)(backend.info, classes)
        task = SimpleNamespace(classes=classes, modality="image", source=None, provider=Provider(classes))
        experiment = Experiment(config, task, backend, *tuned, clients)
        monkeypatch.setattr(train, "open_experiment", lambda config: experiment)
        train.train(config, tmp_path / "run")
        return Run(tmp_path / "run", experiment)

    return make


def test_numbers_are_those_of_the_summary(make):
    s = (run := make()).summary
    exact = [
        str(s["test_accuracy"]),
        str(s["zero_shot_accuracy"]),
        f"{s['queries']} queries",
        f"{s['requests']} requests",
    ]
    exact += [f"{s['bytes_up']:,} bytes", f"{s['bytes_down']:,} bytes", f"{s['seconds']:.3f} seconds"]
    assert [tile["title"] for tile in run.page.all("div") if "title" in tile] == exact
    rows = {row[0].split(" no ")[0]: row[1:] for row in run.page.rows}
    shares = {"Zero-shot": "zero_shot_accuracy", "Readout alone": "readout_alone_accuracy"}
    for name, key in (shares | {"Prompt + readout this run": "test_accuracy"}).items():
        assert rows[name][1].split(" %")[0] == f"{100 * s[key]:.1f}"
    for purpose, n in s["queries_by_purpose"].items():
        assert rows[purpose][1:] == [f"{n:,}", f"{100 * n / s['queries']:.1f} %"]
    for name, client in s["clients"].items():
        sizes = [str(sum(client[split])) for split in ("train", "validation", "test")]
        shares = [f"{100 * client[key]:.1f} %" for key in ("zero_shot_accuracy", "test_accuracy")]
        assert rows[name][1:] == sizes + shares
    for i, row in enumerate(s["confusion"]["test"]):
        for j, count in enumerate(row):
            tip = f"{s['classes'][i]} taken for {s['classes'][j]}: {count} of {sum(row)} "
            assert (tip in run.page.text) == (count > 0)
    assert (f"of round {s['best_round']} of 3" in run.page.text) == (s["best_round"] > 0)
    assert 'name = "dct"' in run.page.text
    assert ["data_sha256", run.experiment.data_sha256] in run.page.rows


def test_page_needs_nothing_but_itself(make):
    run = make()
    assert sum(run.experiment.backend.calls) == run.summary["queries"]
    assert not run.page.all("script") + run.page.all("link")
    for _, attributes in run.page.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"url\(|@import", run.page.text)


def test_class_names_are_escaped(make):
    run = make(classes=(names := ("<b>dark</b>", "a\"&'b", "</svg><script>alert(1)</script>")))
    assert not run.page.all("script") + run.page.all("b")
    for name in names:
        assert name in run.page.text


def test_the_conclusion_follows_the_numbers(make):
    run, added, lost = make(rounds=1), "The prompt added", "The prompt did not beat the readout alone:"
    conclusions = {
        (0.05, 0.95): f"{added} 90.0 percentage points to the readout alone (5.0 % → 95.0 %).",
        (0.95, 0.05): f"{lost} it is 90.0 percentage points lower (95.0 % → 5.0 %).",
        (0.5, 0.5): f"{lost} they agree to a tenth of a percentage point (50.0 % → 50.0 %). The 95 % intervals",
        (0.5, 0.5417): f"{added} 4.2 percentage points to the readout alone (50.0 % → 54.2 %). The 95 % intervals",
        (None, 0.5): "There is no result for the readout alone, so the gain from the prompt is unknown.",
        (0.5, None): "There is no result for this run, so the gain from the prompt is unknown.",
    }
    for (alone, prompted), conclusion in conclusions.items():
        run.write(readout_alone_accuracy=alone, test_accuracy=prompted)
        assert conclusion in run.page.text
        assert ("may be due to chance" in run.page.text) == ("intervals" in conclusion)


def test_without_prompt_there_are_no_pictures(make):
    run = make(prompt="none")
    assert "What the readout added" in run.page.text
    assert ["Readout alone this run: no prompt"] in [row[:1] for row in run.page.rows]
    assert not run.page.all("img")


def test_identity_is_compared_with_zero_shot(make):
    run = make(readout="identity")
    assert run.summary["readout_alone_accuracy"] is None
    assert ["Prompt alone this run: no trained readout"] in [row[:1] for row in run.page.rows]
    assert "the zero-shot result" in run.page.text


def test_without_zero_shot_the_page_says_why(make):
    run = make(known=("x", "y", "z"))
    assert run.summary["zero_shot_accuracy"] is None
    assert "There is no zero-shot result, because the model does not score the classes of the task" in run.page.text
    assert {"title": "no such result"} in run.page.all("div")
    assert re.findall('([^"]*): confusion matrix', run.html) == ["This run"]


def test_curves_leave_out_rounds_without_evaluation(make):
    run = make(rounds=5, evaluate_every=2)
    rows = [row for row in read_metrics(run.out / "metrics.jsonl") if row["subset"] == "validation"]
    evaluated = [row for row in rows if row["accuracy"] is not None]
    assert (len(evaluated), len(rows)) == (4, 6)
    assert [len(run.page.all("circle", style)) for style in ("validation", "training")] == [4 * 4, 2 * 5]
    for row in evaluated:
        assert f"validation, round {row['round']}: {100 * row['accuracy']:.4g}" in run.page.text
        assert f"validation, queries {row['queries']:,}: {row['loss']:.4g}" in run.page.text


def test_pictures_are_synthetic_and_what_the_prompt_makes_of_them_and_no_clients(make):
    run = make()
    experiment, theta = run.experiment, again.load_best(run.out, run.experiment)[1].parameters["prompt"]
    files = [io.BytesIO(base64.b64decode(image["src"].partition(",")[2])) for image in run.page.all("img")]
    shown = [np.asarray(Image.open(file)) for file in files]
    training, reach = np.concatenate([client.train.inputs for client in experiment.clients]), 0.0
    assert len(shown) == 3 * 3
    for original, difference, prompted in zip(shown[::3], shown[1::3], shown[2::3], strict=True):
        picture = original.transpose(2, 0, 1)
        assert not (training == picture).all((1, 2, 3)).any()
        expected = experiment.prompt.apply(theta[None], picture[None].astype(np.float32) / 255, None)[0]
        np.testing.assert_allclose(prompted.transpose(2, 0, 1), 255 * expected, atol=0.51)
        change = expected - picture / 255
        reach, clear = max(reach, abs(change).max()), abs(change) > 0.01
        np.testing.assert_array_equal(np.sign(change[clear]), np.sign(difference.transpose(2, 0, 1)[clear] - 127.5))
    assert (f"±{reach:.2g}," in run.page.text) == (reach > 0.002)


def test_all_prompts_of_the_best_checkpoint_are_shown_side_by_side(make):
    run = make(algorithm="ensemble", optimizer="random", rounds=3)
    experiment, theta = run.experiment, again.load_best(run.out, run.experiment)[1].parameters["prompt"]
    prompts = theta.reshape(-1, experiment.prompt.dim)
    assert len(prompts) == 1 + run.summary["best_round"] > 2
    labels = [image["alt"].partition(",")[0] for image in run.page.all("img")]
    assert labels == 3 * ["original", *(f"prompt {i}" for i in range(1, len(prompts) + 1))]
    files = [io.BytesIO(base64.b64decode(image["src"].partition(",")[2])) for image in run.page.all("img")]
    shown = [np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files[: 1 + len(prompts)]]
    expected = experiment.prompt.apply(prompts, shown[0][None].astype(np.float32) / 255, None)
    np.testing.assert_allclose(shown[1:], 255 * expected, atol=0.51)
    assert f"under each of the {len(prompts)} prompts of the best checkpoint" in run.page.text
    sizes = experiment.algorithm.parameter_counts(3)
    assert sizes == {"prompt": 4 * experiment.prompt.dim, "readout": 3 * (4 * 3 + 1)}
    assert f"Prompt dct ({sizes['prompt']} parameters), readout linear ({sizes['readout']} parameters)" in run.page.text


def test_many_classes_have_no_names_on_charts(make, clients):
    clients = [replace(c, train=replace(c.train, labels=2 * np.arange(len(c.train)))) for c in clients]
    run = make(classes=tuple(f"class number {i}" for i in range(31)), rounds=1, clients=clients)
    assert not run.page.all("li")
    assert "…" not in run.page.text
    assert "Most frequent errors of this run" in run.page.text
    assert len(run.page.all("img")) == 3 * len(prompt_preview.sample_images((8, 8)))


def test_up_to_thirty_classes_have_names_and_colours():
    page = Page(charts.heat_map("map", [[2, 1], [0, 3]], ["a name far too long", "b"]))
    assert page.texts.count("a name far …") == 2
    assert "a name far too long taken for b: 1 of 3 (33%)" in page.texts
    assert len({charts.class_colour(i) for i in range(31)}) == 30


def test_a_thousand_classes_and_a_hundred_clients_stay_a_small_page(make):
    run, rng = make(rounds=1), np.random.default_rng(0)
    confusion = (np.diag(rng.integers(0, 9, 1000)) + (rng.random((1000, 1000)) < 0.01)).tolist()
    one = {split: (rng.random(1000) < 0.03).astype(int).tolist() for split in ("train", "validation", "test")}
    clients = {f"client-{i:03d}": one | {"test_accuracy": None, "zero_shot_accuracy": 0.5} for i in range(100)}
    confusions = {"zero_shot": confusion, "test": confusion}
    run.write(classes=[f"class {i}" for i in range(1000)], clients=clients, confusion=confusions)
    assert len(run.html) < 1_000_000
    assert len(run.page.all("path", "heat")) <= 2 * 10


def test_unfinished_run_has_no_report(make):
    run = make(rounds=1)
    (run.out / "summary.json").unlink()
    with pytest.raises(RunError, match="no summary yet; finish the run"):
        run.write()


def test_figures_for_people():
    sizes = {0: "0 B", 999: "999 B", 1000: "1 kB", 283_904: "284 kB", 999_900: "1 MB", 5_120_000_000: "5.12 GB"}
    assert {n: formatting.format_bytes(n) for n in sizes} == sizes
    durations = {0.123: "0.123 s", 27.75: "27.8 s", 200: "3.3 min", 7200: "2.0 h"}
    assert {s: formatting.format_duration(s) for s in durations} == durations
    assert report.wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert report.wilson_interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_ticks_are_round_and_enclose():
    assert charts.ticks([0, 15], whole=True) == [0, 5, 10, 15]
    assert charts.ticks([0, 1], whole=True) == [0, 1]
    assert charts.ticks([40, 77.5]) == [40, 50, 60, 70, 80]
    assert charts.ticks([100, 100]) == [80, 100]
    assert charts.ticks([]) == [0, 0.2]
    cases = ((0.25, 0.05), (3, 1), (900, 100), (15000, 5000), (0, 5e6), (2e6, 1e6))
    assert [charts.tick_label(*case) for case in cases] == ["0.25", "3", "900", "15k", "0", "2M"]


@pytest.mark.parametrize("rounds", [0, 1])
def test_curves_need_rounds(make, rounds):
    assert ("Training curves" in make(rounds=rounds).page.text) == (rounds > 0)

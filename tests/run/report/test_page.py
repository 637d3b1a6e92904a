"""The report of small real runs: its numbers and its texts."""

import re
from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.errors import RunError
from fedbbpt.run.formatting import format_bytes, format_duration
from fedbbpt.run.metrics import read_metrics
from fedbbpt.run.report.intervals import wilson_interval
from fedbbpt.run.report.sample_images import sample_images


def test_numbers_are_those_of_the_summary(make_report):
    s = (report := make_report()).summary
    exact = [
        str(s["test_accuracy"]),
        str(s["zero_shot_accuracy"]),
        f"{s['queries']} queries",
        f"{s['requests']} requests",
    ]
    exact += [f"{s['bytes_up']:,} bytes", f"{s['bytes_down']:,} bytes"]
    exact += [f"{s['exchanges']} messages to all clients of a round", f"{s['seconds']:.3f} seconds"]
    assert [tile["title"] for tile in report.page.all("div") if "title" in tile] == exact
    rows = {row[0].split(" no ")[0]: row[1:] for row in report.page.rows}
    shares = {"Zero-shot": "zero_shot_accuracy", "Readout alone": "readout_alone_accuracy"}
    for name, key in (shares | {"Prompt + readout this run": "test_accuracy"}).items():
        assert rows[name][0].split(" %")[0] == f"{100 * s[key]:.1f}"
    for purpose, n in s["queries_by_purpose"].items():
        assert rows[purpose][:2] == [f"{n:,}", f"{100 * n / s['queries']:.1f} %"]
    baselines = s["baseline_traffic"]["exchanges"]
    said = f"Of the {s['exchanges']} exchanges of server and clients, {baselines} were for the baselines."
    assert said in report.page.text
    for name, client in s["clients"].items():
        sizes = [str(sum(client[subset])) for subset in ("train", "validation", "test")]
        shares = [f"{100 * client[key]:.1f} %" for key in ("test_accuracy", "zero_shot_accuracy")]
        assert rows[name][:5] == shares + sizes
    for i, row in enumerate(s["confusion"]["test"]):
        for j, count in enumerate(row):
            tip = f"{s['classes'][i]} taken for {s['classes'][j]}: {count} of {sum(row)} "
            assert (tip in report.page.text) == (count > 0)
    assert (f"of round {s['best_round']} of 3" in report.page.text) == (s["best_round"] > 0)
    assert 'name = "dct"' in report.page.text
    assert ["SHA-256 of the data", report.experiment.data_sha256] in report.page.rows


def test_page_needs_nothing_but_itself(make_report):
    report = make_report()
    assert sum(report.experiment.backend.calls) == report.summary["queries"]
    assert not report.page.all("script") + report.page.all("link")
    for _, attributes in report.page.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    assert not re.search(r"url\(|@import", report.page.text)


def test_class_names_are_escaped(make_report):
    report = make_report(classes=(names := ("<b>dark</b>", "a\"&'b", "</svg><script>alert(1)</script>")))
    assert not report.page.all("script") + report.page.all("b")
    for name in names:
        assert name in report.page.text


def test_the_conclusion_follows_the_numbers(make_report):
    report, added, lost = make_report(rounds=1), "The prompt added", "The prompt did not beat the readout alone:"
    conclusions = {
        (0.05, 0.95): f"{added} 90.0 percentage points to the readout alone (5.0 % → 95.0 %).",
        (0.95, 0.05): f"{lost} it is 90.0 percentage points lower (95.0 % → 5.0 %).",
        (0.5, 0.5): f"{lost} they agree to a tenth of a percentage point (50.0 % → 50.0 %).",
        (None, 0.5): "There is no result for the readout alone, so the gain from the prompt is unknown.",
        (0.5, None): "There is no result for this run, so the gain from the prompt is unknown.",
    }
    for (alone, prompted), conclusion in conclusions.items():
        report.write(readout_alone_accuracy=alone, test_accuracy=prompted)
        assert conclusion in report.page.text


@pytest.mark.parametrize(
    ("paired", "said"),
    [
        ({"examples": 200, "won": 9, "lost": 0}, "is +1.4 to +7.5 points (on 200 test examples, p = 0.004)."),
        ({"examples": 200, "won": 9, "lost": 7}, "may be due to chance: its 95 % interval is −3.0 to +5.0 points"),
        ({"examples": 200, "won": 0, "lost": 0}, "may be due to chance: its 95 % interval is −1.0 to +1.0 points"),
        (None, "Whether that is chance is unknown, since no client compared the two"),
    ],
)
def test_the_difference_is_that_of_the_pairs(make_report, paired, said):
    report = make_report(rounds=0)
    report.write(paired={"zero_shot": None, "readout_alone": paired})
    assert said in report.page.text


def test_fewer_pairs_than_test_examples_are_named(make_report):
    report = make_report(rounds=0)
    tested = sum(sum(client["test"]) for client in report.summary["clients"].values())
    told = "test images were compared; clients that had lost their memory compared none."
    assert told not in report.page.text
    report.write(paired={"zero_shot": None, "readout_alone": {"examples": tested - 5, "won": 3, "lost": 1}})
    assert f"{tested - 5} of the {tested} {told}" in report.page.text


def test_a_report_of_an_earlier_version_has_no_pairs(make_report):
    report = make_report(rounds=0)
    del report.summary["paired"]
    report.write(seed=1)
    assert "Whether that is chance is unknown" in report.page.text


def test_the_title_says_what_the_run_is_and_links_lead_to_all_sections(make_report):
    report = make_report()
    heading = "Dct prompt and linear readout by fedavg: digits with local-vit (toy)"
    assert f"<title>{heading}</title>" in report.html
    assert f"<h1>{heading}</h1>" in report.html
    links = [link["href"] for link in report.page.all("a")]
    places = [f"#{section['id']}" for section in report.page.all("section")]
    assert links == [places[0], *places]
    assert len({*places}) == len(places) > 6


def test_validation_accuracy_is_never_without_its_number_of_examples(make_report):
    report = make_report()
    examples = sum(sum(client["validation"]) for client in report.summary["clients"].values())
    assert f"Its validation accuracy (n={examples}) is" in report.page.text
    assert f"Validation accuracy (n={examples}), %" in report.page.text


def test_identity_is_compared_with_zero_shot(make_report):
    report = make_report(readout="identity")
    assert report.summary["readout_alone_accuracy"] is None
    assert ["Prompt alone this run: no trained readout"] in [row[:1] for row in report.page.rows]
    assert "the zero-shot result" in report.page.text


def test_without_zero_shot_the_page_says_why(make_report):
    report = make_report(known=("x", "y", "z"))
    assert report.summary["zero_shot_accuracy"] is None
    assert "There is no zero-shot result, because the model does not score the classes of the task" in report.page.text
    assert {"title": "no such result"} in report.page.all("div")
    assert re.findall('([^"]*): confusion matrix', report.html) == ["This run"]


def test_curves_leave_out_rounds_without_evaluation(make_report):
    report = make_report(rounds=5, evaluate_every=2)
    rows = [row for row in read_metrics(report.folder / "metrics.jsonl") if row["subset"] == "validation"]
    evaluated = [row for row in rows if row["accuracy"] is not None]
    assert (len(evaluated), len(rows)) == (4, 6)
    assert [len(report.page.all("circle", style)) for style in ("validation", "training")] == [2 * 4, 5]
    for row in evaluated:
        when = f"round {row['round']}, {row['queries']:,} queries:"
        assert f"{when} validation accuracy {100 * row['accuracy']:.4g} %" in report.page.text
        assert f"{when} validation loss {row['loss']:.4g} nats" in report.page.text


def test_many_classes_have_no_names_on_charts(make_report, clients):
    clients = [replace(c, train=replace(c.train, labels=2 * np.arange(len(c.train)))) for c in clients]
    report = make_report(classes=tuple(f"class number {i}" for i in range(31)), rounds=1, clients=clients)
    assert not report.page.all("ul", "legend")
    assert "…" not in report.page.text
    assert "Most frequent errors of this run" in report.page.text
    assert len(report.page.all("img")) == 3 * len(sample_images((8, 8)))


def test_a_thousand_classes_and_a_hundred_clients_stay_a_small_page(make_report):
    report, rng = make_report(rounds=1), np.random.default_rng(0)
    confusion = (np.diag(rng.integers(0, 9, 1000)) + (rng.random((1000, 1000)) < 0.01)).tolist()
    one = {subset: (rng.random(1000) < 0.03).astype(int).tolist() for subset in ("train", "validation", "test")}
    clients = {f"client-{i:03d}": one | {"test_accuracy": None, "zero_shot_accuracy": 0.5} for i in range(100)}
    confusions = {"zero_shot": confusion, "test": confusion}
    report.write(classes=[f"class {i}" for i in range(1000)], clients=clients, confusion=confusions)
    assert len(report.html) < 1_000_000
    assert len(report.page.all("path", "heat")) <= 2 * 10


def test_unfinished_run_has_no_report(make_report):
    report = make_report(rounds=1)
    (report.folder / "summary.json").unlink()
    with pytest.raises(RunError, match="no summary yet; finish the run"):
        report.write()


def test_numbers_are_formatted_for_people():
    sizes = {0: "0 B", 999: "999 B", 1000: "1 kB", 283_904: "284 kB", 999_900: "1 MB", 5_120_000_000: "5.12 GB"}
    assert {n: format_bytes(n) for n in sizes} == sizes
    durations = {0.123: "0.123 s", 27.75: "27.8 s", 200: "3.3 min", 7200: "2.0 h"}
    assert {s: format_duration(s) for s in durations} == durations
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson_interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@pytest.mark.parametrize("rounds", [0, 1])
def test_curves_need_rounds(make_report, rounds):
    assert ("Training curves" in make_report(rounds=rounds).page.text) == (rounds > 0)


def test_damaged_figures_are_named(make_report):
    report = make_report(rounds=0)
    (report.folder / "figures.json").write_text('{"title":')
    with pytest.raises(RunError, match=r"figures.json is damaged; delete it, or draw it again with fedbbpt figures"):
        report.write()

"""Writes `report.html`: a self-contained page about a finished run, made without querying the model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fedbbpt.algorithms import ServerState
from fedbbpt.printing import one_line
from fedbbpt.run.atomic_files import write_atomic
from fedbbpt.run.environment import read_environment, read_results
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.formatting import DASH, format_bytes, format_cost, format_duration, format_percent
from fedbbpt.run.report import charts
from fedbbpt.run.report.charts import BarSegment, Series
from fedbbpt.run.report.intervals import wilson_interval
from fedbbpt.run.report.prompt_preview import image_preview

MAX_CONFUSIONS = 10  # listed in the report
THIS_RUN, BASELINE = charts.PALETTE[0], charts.PALETTE[3]  # colours of the bars


def write_report(out: Path, experiment: Experiment, state: ServerState) -> Path:
    """Writes `report.html` into the folder of a finished run, whose best parameters are in `state`; returns its path.

    Raises:
        RunError: the run has no summary yet, its results have changed, or the page cannot be written.
    """
    summary, rows = read_results(out)
    summary["classes"] = names = [one_line(name) for name in summary["classes"]]
    comparison = _comparison(summary, experiment)
    trained = "prompt" if experiment.prompt.dim else "readout" if experiment.readout.trainable else "model"
    tuned = f"Prompt {experiment.config.prompt.name}", f"readout {experiment.config.readout.name}"
    if experiment.algorithm.access == "white-box":
        trained, tuned = "training", ("Soft tokens", "parts of the model")
    environment = read_environment(out).model_dump(exclude={"task", "files"})
    environment["backend"]["classes"] = f"{len(environment['backend']['classes'])} classes"
    page = _environment().from_string(files("fedbbpt.run.report").joinpath("page.html.j2").read_text("utf-8"))
    text = page.render(
        summary=summary,
        config=experiment.config,
        model=experiment.backend.info.model,
        max_batch=experiment.backend.info.max_batch,
        toml=(out / "config.toml").read_text("utf-8"),
        environment=list(_flat(environment)),
        thing=experiment.task.modality,
        dims=experiment.algorithm.parameter_counts(experiment.config.rounds),
        tuned=tuned,
        cards=_summary_cards(summary),
        comparison=comparison,
        whole=experiment.algorithm.is_queryable,
        white_box=experiment.algorithm.access == "white-box",
        trained=trained,
        conclusion=_conclusion(trained, *comparison[-2:]),
        charts=_curves(rows, summary["best_round"]),
        clients=_clients(summary),
        legend=[(n, charts.class_colour(i)) for i, n in enumerate(names)] if len(names) <= charts.NAMED_CLASSES else [],
        nodes=_nodes(summary, rows),
        preview=image_preview(experiment, state),
        maps=_maps(summary),
        confusions=_confusions(summary) if len(names) > charts.COUNTED_CLASSES else [],
        purposes=_purposes(summary),
        beside=_load(drawn) if (drawn := out / "figures.json").is_file() else None,  # by `fedbbpt figures`
    )
    write_atomic(out / "report.html", text.encode())
    return out / "report.html"


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = format_percent
    return environment


def _load(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} · ")
        else:
            shown = " × ".join(map(str, value)) if isinstance(value, list) else DASH if value is None else value
            yield prefix + key, shown


def _summary_cards(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The cards at the top of the page: (label, rounded value, exact value as a tooltip)."""
    shares = [("test accuracy", summary["test_accuracy"]), ("zero-shot", summary["zero_shot_accuracy"])]
    cards = [
        (label, format_percent(share), "no such result" if share is None else str(share)) for label, share in shares
    ]
    counted = ["queries", "requests", *(key for key in ("tokens", "unparsed", "unanswered") if summary[key])]
    cards += [(key, f"{summary[key]:,}", f"{summary[key]} {key}") for key in counted]
    if bill := summary["billed"]:
        cards.append(
            ("billed", format_cost(bill["cost"]), f"{bill['queries']:,} queries in {bill['requests']:,} requests")
        )
    sizes = [("sent by clients", "bytes_up"), ("sent to clients", "bytes_down")]
    cards += [(label, format_bytes(summary[key]), f"{summary[key]:,} bytes") for label, key in sizes]
    cards.append(
        ("exchanges", f"{summary['exchanges']:,}", f"{summary['exchanges']} messages to all clients of a round")
    )
    return [*cards, ("time", format_duration(summary["seconds"]), f"{summary['seconds']:.3f} seconds")]


def _comparison(summary: Mapping[str, Any], experiment: Experiment) -> list[dict[str, Any]]:
    """Baselines and this run, weakest first; this run has to beat the last but one."""
    examples, final = sum(sum(c["test"]) for c in summary["clients"].values()), summary["test_accuracy"]
    rows = [
        (
            "Majority class",
            "always predicts the most frequent class of the test data",
            summary["majority_accuracy"],
            BASELINE,
        )
    ]
    if experiment.algorithm.access == "white-box":
        if experiment.algorithm.is_queryable:
            rows.append(
                ("Zero-shot", "the model's own scores, without training", summary["zero_shot_accuracy"], BASELINE)
            )
        rows.append(("White box", f"this run: {experiment.config.algorithm.name}", final, THIS_RUN))
        return _with_intervals(rows, examples)
    if not (experiment.prompt.dim or experiment.readout.trainable):
        rows.append(("Zero-shot", "this run: no prompt, no trained readout", final, THIS_RUN))
        return _with_intervals(rows, examples)
    rows.append(("Zero-shot", "no prompt, untrained readout", summary["zero_shot_accuracy"], BASELINE))
    if not experiment.prompt.dim:
        rows.append(("Readout alone", "this run: no prompt", final, THIS_RUN))
    elif not experiment.readout.trainable:
        rows.append(("Prompt alone", "this run: no trained readout", final, THIS_RUN))
    else:
        rows.append(("Readout alone", "no prompt", summary["readout_alone_accuracy"], BASELINE))
        views = summary["queries_per_input"]
        more = f", {views} queries per input" if views > 1 else ""
        rows.append(("Prompt + readout", f"this run{more}", final, THIS_RUN))
    return _with_intervals(rows, examples)


def _with_intervals(rows: Sequence[tuple[str, str, float | None, str]], examples: int) -> list[dict[str, Any]]:
    """Adds 95 % intervals and bars to rows of name, description, accuracy and colour."""
    return [
        {
            "name": name,
            "made_of": made_of,
            "accuracy": accuracy,
            "interval": None if accuracy is None else wilson_interval(accuracy, examples),
            "bar": charts.bar(
                [BarSegment(accuracy or 0.0, format_percent(accuracy), colour)], 1, format_percent(accuracy)
            ),
        }
        for name, made_of, accuracy, colour in rows
    ]


def _conclusion(part: str, rival: Mapping[str, Any], this: Mapping[str, Any]) -> str:
    """A sentence about how much the trained part improved on its baseline."""
    rivals = {"Majority class": "the majority class", "Zero-shot": "the zero-shot result"}
    name = rivals.get(rival["name"], "the readout alone")
    before, after = rival["accuracy"], this["accuracy"]
    if before is None or after is None:
        missing = name if before is None else "this run"
        return f"There is no result for {missing}, so the gain from the {part} is unknown."
    gain, numbers = round(100 * (after - before), 1), f"({format_percent(before)} → {format_percent(after)})"
    if gain > 0:
        first = f"The {part} added {gain} percentage points to {name} {numbers}."
    elif gain < 0:
        first = f"The {part} did not beat {name}: it is {-gain} percentage points lower {numbers}."
    else:
        first = f"The {part} did not beat {name}: they agree to a tenth of a percentage point {numbers}."
    apart = rival["interval"][1] < this["interval"][0] or this["interval"][1] < rival["interval"][0]
    return first if apart else f"{first} The 95 % intervals overlap, so the difference may be due to chance."


def _curves(rows: Sequence[Mapping[str, Any]], best_round: int) -> list[Markup]:
    """Charts of accuracy and loss, by round and by queries."""
    rows = [row for row in rows if row["subset"] == "validation"]
    drawn = []
    for x, label in (("round", "round"), ("queries", "queries")):
        best = next(row[x] for row in rows if row["round"] == best_round)

        def line(name: str, style: str, key: str, factor: int = 1, x: str = x) -> Series:
            return Series(name, style, [(row[x], factor * row[key]) for row in rows if row[key] is not None])

        accuracy = [line("validation", "validation", "accuracy", 100)]
        loss = [line("validation", "validation", "loss"), line("training", "training", "train_loss")]
        drawn.append(charts.line_chart("Accuracy, %", label, accuracy, best))
        drawn.append(charts.line_chart("Loss, nats", label, loss, best))
    return drawn


def _clients(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    most = max(sum(client["train"]) for client in summary["clients"].values())
    result = []
    for name, client in summary["clients"].items():
        counts = zip(summary["classes"], client["train"], strict=True)
        parts = [BarSegment(n, f"{label}: {n}", charts.class_colour(i)) for i, (label, n) in enumerate(counts) if n]
        sizes = {split: sum(client[split]) for split in ("train", "validation", "test")}
        shares = {"zero_shot": client["zero_shot_accuracy"], "accuracy": client["test_accuracy"]}
        result.append({"name": name, "bar": charts.bar(parts, most, f"training labels of {name}"), **sizes, **shares})
    return result


def _nodes(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if "nodes" not in summary:  # there was a server
        return None
    from fedbbpt.run.report.graph_chart import nodes_drawn  # which brings networkx: memory that other runs do without

    return nodes_drawn(summary, rows)


def _maps(summary: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    found = [(title, summary["confusion"][key]) for title, key in (("Zero-shot", "zero_shot"), ("This run", "test"))]
    return [(t, charts.heat_map(f"{t}: confusion matrix", c, summary["classes"])) for t, c in found if c is not None]


def _confusions(summary: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """The most frequent confusions: (true class, predicted class, count)."""
    counts, names = np.array(summary["confusion"]["test"]), summary["classes"]
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)]
    return [(names[i], names[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def _purposes(summary: Mapping[str, Any]) -> list[tuple[str, int, float, Markup]]:
    total = sum(summary["queries_by_purpose"].values())
    return [
        (name, n, n / total, charts.bar([BarSegment(n, f"{name}: {n:,}", THIS_RUN)], total, f"{n:,} queries"))
        for name, n in summary["queries_by_purpose"].items()
    ]

"""What a report's sections show: cards, curves, clients, confusions and queries, from the summary and the metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from fedbbpt.run.formatting import format_bytes, format_cost, format_count, format_duration, format_percent
from fedbbpt.run.report import charts
from fedbbpt.run.report.charts import BarSegment, Series
from fedbbpt.run.report.heat_map import heat_map
from fedbbpt.run.report.results import THIS_RUN

MAX_CONFUSIONS = 10  # listed in the report


def summary_cards(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
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


def curves(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Charts of validation accuracy and of loss, by round; below each round stand the queries until then."""
    rows = [row for row in rows if row["subset"] == "validation"]
    under = {row["round"]: format_count(row["queries"]) for row in rows}

    def line(name: str, key: str, unit: str, factor: int = 1) -> Series:
        known = [row for row in rows if row[key] is not None]
        points = [(row["round"], factor * row[key]) for row in known]
        tips = [
            f"round {row['round']}, {row['queries']:,} queries: {name} {value:.4g}{unit}"
            for row, (_, value) in zip(known, points, strict=True)
        ]
        return Series(name.partition(" ")[0], name.partition(" ")[0], points, tips)

    def chart(title: str, lines: list[Series]) -> Markup:
        label = "round, and queries until then"
        return charts.line_chart(title, label, lines, summary["best_round"], under=under)

    return [
        chart(f"{validation_accuracy(summary).capitalize()}, %", [line("validation accuracy", "accuracy", " %", 100)]),
        chart("Loss, nats", [line("validation loss", "loss", " nats"), line("training loss", "train_loss", " nats")]),
    ]


def validation_accuracy(summary: Mapping[str, Any]) -> str:
    """What a validation accuracy is called: with the number of examples behind it.

    >>> validation_accuracy({"clients": {"a": {"validation": [3, 4]}, "b": {"validation": [0, 1]}}})
    'validation accuracy (n=8)'
    """
    return f"validation accuracy (n={validation_examples(summary):,})"


def validation_examples(summary: Mapping[str, Any]) -> int:
    """The number of all clients' validation examples."""
    return sum(sum(one["validation"]) for one in summary["clients"].values())


def clients(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of clients: names, bars of training labels, numbers of examples, accuracies."""
    most = max(sum(client["train"]) for client in summary["clients"].values())
    result = []
    for name, client in summary["clients"].items():
        counts = zip(summary["classes"], client["train"], strict=True)
        parts = [BarSegment(n, f"{label}: {n}", charts.class_colour(i)) for i, (label, n) in enumerate(counts) if n]
        sizes = {split: sum(client[split]) for split in ("train", "validation", "test")}
        shares = {"zero_shot": client["zero_shot_accuracy"], "accuracy": client["test_accuracy"]}
        result.append({"name": name, "bar": charts.bar(parts, most, f"training labels of {name}"), **sizes, **shares})
    return result


def confusion_maps(summary: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    """The confusion matrices that the summary holds, with their titles."""
    found = [(title, summary["confusion"][key]) for title, key in (("Zero-shot", "zero_shot"), ("This run", "test"))]
    return [(t, heat_map(f"{t}: confusion matrix", c, summary["classes"])) for t, c in found if c is not None]


def frequent_confusions(summary: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """The most frequent confusions: (true class, predicted class, count)."""
    counts, names = np.array(summary["confusion"]["test"]), summary["classes"]
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)]
    return [(names[i], names[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def purposes(summary: Mapping[str, Any]) -> list[tuple[str, int, float, Markup]]:
    """What queries were for: name, number, share, bar."""
    total = sum(summary["queries_by_purpose"].values())
    return [
        (name, n, n / total, charts.bar([BarSegment(n, f"{name}: {n:,}", THIS_RUN)], total, f"{n:,} queries"))
        for name, n in summary["queries_by_purpose"].items()
    ]

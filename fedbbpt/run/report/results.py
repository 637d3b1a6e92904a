"""The first section of a report: the run beside its baselines, on the same test examples."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from fedbbpt.run.experiment import Experiment
from fedbbpt.run.formatting import format_p, format_percent, format_points
from fedbbpt.run.report import charts
from fedbbpt.run.report.charts import BarSegment
from fedbbpt.run.report.intervals import Difference, paired_difference, wilson_interval

THIS_RUN, BASELINE = charts.PALETTE[0], charts.PALETTE[3]  # colours of the bars


class ResultRow(NamedTuple):
    """A baseline, or the run itself, in the table of results."""

    name: str
    made_of: str
    accuracy: float | None
    interval: tuple[float, float] | None  # of the accuracy
    difference: Difference | None  # of the run to this baseline
    bar: Markup


def result_rows(summary: Mapping[str, Any], experiment: Experiment) -> list[ResultRow]:
    """Baselines and this run, weakest first; this run has to beat the last but one."""
    majority = "always predicts the most frequent class of the test data"
    rows = [("Majority class", majority, "majority")]
    name, made_of = "Zero-shot", "no prompt, untrained readout"
    if experiment.algorithm.access == "white-box":
        if experiment.algorithm.is_queryable:
            rows.append((name, "the model's own scores, without training", "zero_shot"))
        rows.append(("White box", f"this run: {experiment.config.algorithm.name}", "test"))
    elif not (experiment.prompt.dim or experiment.readout.trainable):
        rows.append((name, "this run: no prompt, no trained readout", "test"))
    elif not experiment.prompt.dim:
        rows += [(name, made_of, "zero_shot"), ("Readout alone", "this run: no prompt", "test")]
    elif not experiment.readout.trainable:
        rows += [(name, made_of, "zero_shot"), ("Prompt alone", "this run: no trained readout", "test")]
    else:
        views = summary["queries_per_input"]
        more = f", {views} queries per input" if views > 1 else ""
        rows += [(name, made_of, "zero_shot"), ("Readout alone", "no prompt", "readout_alone")]
        rows.append(("Prompt + readout", f"this run{more}", "test"))
    return [_row(*row, summary) for row in rows]


def _row(name: str, made_of: str, key: str, summary: Mapping[str, Any]) -> ResultRow:
    examples, accuracy = sum(sum(c["test"]) for c in summary["clients"].values()), summary[f"{key}_accuracy"]
    shown = format_percent(accuracy)
    bar = charts.bar([BarSegment(accuracy or 0.0, shown, THIS_RUN if key == "test" else BASELINE)], 1, shown)
    interval = None if accuracy is None else wilson_interval(accuracy, examples)
    difference = paired_difference(summary.get("paired", {}).get(key))  # runs of earlier versions have none
    return ResultRow(name, made_of, accuracy, interval, difference, bar)


def conclusion(part: str, rows: Sequence[ResultRow]) -> str:
    """A sentence or two about how much the trained part improved on its baseline."""
    rival, this = rows[-2:]
    rivals = {"Majority class": "the majority class", "Zero-shot": "the zero-shot result"}
    name = rivals.get(rival.name, "the readout alone")
    if rival.accuracy is None or this.accuracy is None:
        missing = name if rival.accuracy is None else "this run"
        return f"There is no result for {missing}, so the gain from the {part} is unknown."
    gain = round(100 * (this.accuracy - rival.accuracy), 1)
    numbers = f"({format_percent(rival.accuracy)} → {format_percent(this.accuracy)})"
    if gain > 0:
        first = f"The {part} added {gain} percentage points to {name} {numbers}."
    elif gain < 0:
        first = f"The {part} did not beat {name}: it is {-gain} percentage points lower {numbers}."
    else:
        first = f"The {part} did not beat {name}: they agree to a tenth of a percentage point {numbers}."
    return f"{first} {_how_sure(rival)}"


def _how_sure(rival: ResultRow) -> str:
    if (known := rival.difference) is None:
        return "Whether that is chance is unknown, since no client compared the two on the same test examples."
    interval = f"{format_points(known.low)} to {format_points(known.high)} points"
    test = f"on {known.examples:,} test examples, {format_p(known.p)}"
    if known.is_clear:
        return f"The 95 % interval of the difference is {interval} ({test})."
    return f"The difference may be due to chance: its 95 % interval is {interval} ({test})."

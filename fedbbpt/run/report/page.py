"""Writes `report.html`: a self-contained page about a finished run, made without querying the model."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fedbbpt.algorithms import ServerState
from fedbbpt.errors import RunError
from fedbbpt.printing import one_line
from fedbbpt.run.environment import read_environment, read_results
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.report import charts, tables
from fedbbpt.run.report.environment_rows import environment_rows
from fedbbpt.run.report.heat_map import COUNTED_CLASSES
from fedbbpt.run.report.prompt_preview import image_preview
from fedbbpt.run.report.rendering import write_page
from fedbbpt.run.report.results import conclusion, result_rows

DRAWN = "figures.json"  # in the run's folder, by `fedbbpt figures`


class Section(NamedTuple):
    """A section of a page, and its place in the table of contents."""

    name: str  # of its template, and of the place
    title: str


def write_report(out: Path, experiment: Experiment, state: ServerState) -> Path:
    """Writes `report.html` into the folder of a finished run, whose best parameters are in `state`; returns its path.

    Raises:
        RunError: the run has no summary yet, its results have changed, or the page cannot be written.
    """
    summary, rows = read_results(out)
    summary["classes"] = names = [one_line(name) for name in summary["classes"]]
    is_white_box = experiment.algorithm.access == "white-box"
    trained = "prompt" if experiment.prompt.dim else "readout" if experiment.readout.trainable else "model"
    trained = "training" if is_white_box else trained
    results = result_rows(summary, experiment)
    shown: dict[str, Any] = {
        "summary": summary,
        "heading": heading_of(experiment),
        "max_batch": experiment.backend.info.inputs_per_request,
        "toml": (out / "config.toml").read_text("utf-8"),
        "environment": environment_rows(read_environment(out)),
        "thing": experiment.task.modality,
        "dims": experiment.algorithm.parameter_counts(experiment.config.rounds),
        "tuned": _tuned(experiment),
        "cards": tables.summary_cards(summary),
        "results": results,
        "validation_accuracy": tables.validation_accuracy(summary),
        "whole": experiment.algorithm.is_queryable,
        "white_box": is_white_box,
        "conclusion": conclusion(trained, results),
        "charts": tables.curves(summary, rows),
        "clients": tables.clients(summary),
        "legend": [(n, charts.class_colour(i)) for i, n in enumerate(names)]
        if len(names) <= charts.NAMED_CLASSES
        else [],
        "nodes": _nodes(summary, rows),
        "preview": image_preview(experiment, state),
        "maps": tables.confusion_maps(summary),
        "confusions": tables.frequent_confusions(summary) if len(names) > COUNTED_CLASSES else [],
        "purposes": tables.purposes(summary),
        "beside": _drawn(out / DRAWN),
    }
    write_page(out / "report.html", "report.html.j2", sections=_sections(shown, trained), **shown)
    return out / "report.html"


def _sections(shown: Mapping[str, Any], trained: str) -> list[Section]:
    """Those that there is something to show for, in their order."""
    known = [
        (True, "results", f"What the {trained} added"),
        (shown["summary"]["rounds"], "curves", "Training curves"),
        (True, "clients", "Labels and results by client"),
        (shown["nodes"], "nodes", "Nodes and links"),
        (shown["beside"], "beside", shown["beside"] and shown["beside"]["title"]),
        (shown["preview"], "preview", "What the prompt does to images"),
        (shown["summary"]["prompts"], "prompts", "What the model reads"),
        (True, "confusions", "Confusion matrices"),
        (True, "queries", "Where the queries went"),
        (True, "settings", "Settings"),
        (True, "environment", "Environment"),
    ]
    return [Section(name, title) for there, name, title in known if there]


def heading_of(experiment: Experiment) -> str:
    """What the run is: what was tuned and how, on which task, with which model."""
    config = experiment.config
    parts = [f"{config.prompt.name} prompt"] if experiment.prompt.dim else []
    parts += [f"{config.readout.name} readout"] if experiment.readout.trainable else []
    tuned = " and ".join(parts) or "zero-shot"
    if experiment.algorithm.access == "white-box":
        tuned = "soft tokens and parts of the model"
    return f"{tuned[0].upper()}{tuned[1:]} by {config.algorithm.name}: {config.task.name} with {_model(experiment)}"


def _model(experiment: Experiment) -> str:
    backend, model = experiment.config.backend.name, experiment.backend.info.model
    return backend if model == backend else f"{backend} ({model})"


def _tuned(experiment: Experiment) -> tuple[str, str]:
    """What the parameters of the two parts are called."""
    if experiment.algorithm.access == "white-box":
        return "Soft tokens", "parts of the model"
    return f"Prompt {experiment.config.prompt.name}", f"readout {experiment.config.readout.name}"


def _nodes(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if "nodes" not in summary:  # there was a server
        return None
    from fedbbpt.run.report.graph_chart import nodes_drawn  # which brings networkx: memory that other runs do without

    return nodes_drawn(summary, rows)


def _drawn(path: Path) -> Any:
    """What `fedbbpt figures` has drawn; None if it has not."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as e:
        raise RunError(f"{path} is damaged; delete it, or draw it again with fedbbpt figures {path.parent}") from e

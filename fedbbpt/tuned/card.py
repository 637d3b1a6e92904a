"""The card of an exported model, in the layout of the Hugging Face hub."""

from collections.abc import Mapping
from typing import Any

from fedbbpt.run.environment import Environment
from fedbbpt.run.formatting import format_cost
from fedbbpt.run.report.intervals import wilson_interval
from fedbbpt.templates import render
from fedbbpt.tuned.exported import ExportConfig
from fedbbpt.tuned.state import TunedState

SUBSETS = ("train", "validation", "test")


def write_card(
    state: TunedState,
    config: ExportConfig,
    summary: Mapping[str, Any],
    environment: Environment,
    license: str | None,
) -> str:
    """The card, in Markdown: what it is for, what it was trained with, what it cost, how good it is.

    It holds numbers of examples, never examples, and of the clients no names and no numbers of their own.
    """
    clients = summary["clients"].values()
    counts = {subset: sum(sum(client[subset]) for client in clients) for subset in SUBSETS}
    versions = {name: version for name, version in environment.packages.items() if version is not None}
    values = {
        "config": config,
        "license": license,
        "modality": state.task.modality,
        "classes": [_escaped(name) for name in state.task.classes],
        "title": _escaped(config.title),
        "summary": summary,
        "clients": len(clients),
        "counts": counts,
        "interval": wilson_interval(summary["test_accuracy"], counts["test"]) if counts["test"] else None,
        "cost": None if summary["billed"] is None else format_cost(summary["billed"]["cost"]),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "parameters": {name: len(array) for name, array in state.parameters.items()},
    }
    return render("fedbbpt.tuned", "card.md.j2", values)


def _escaped(name: str) -> str:
    """A name of a user's own, as plain text in Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-.!|~" else " " if c in "\r\n" else c for c in name)

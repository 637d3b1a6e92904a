"""What `fedbbpt list KIND` shows of each component, without a download and without opening a data set or a model."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from fedbbpt import registry
from fedbbpt.config.description import summary
from fedbbpt.data import Task, TaskFacts

MEGA = 1e6
UNKNOWN = "-"
RIGHT = ("classes", "train", "test")


class ComponentTable(NamedTuple):
    """A table of components, one per row."""

    headings: Sequence[str]
    rows: list[Sequence[str]]


def component_table(kind: str) -> ComponentTable:
    """The components of a kind; columns that none of them fills in are left out.

    Raises:
        UnknownName: no such kind.
    """
    components = {name: registry.load(kind, name) for name in registry.names(kind)}
    if kind == "tasks":
        return _tasks(components)
    facts = {
        "modality": [" ".join(getattr(component, "modalities", ())) for component in components.values()],
        "extra": [getattr(component, "extra", None) or "" for component in components.values()],
    }
    known = {heading: [one or UNKNOWN for one in column] for heading, column in facts.items() if any(column)}
    summaries = [summary(component) for component in components.values()]
    return ComponentTable(("name", *known, "summary"), list(zip(components, *known.values(), summaries, strict=True)))


def _tasks(components: dict[str, type[Task]]) -> ComponentTable:
    headings = ("name", "modality", "classes", "train", "test", "extra", "download", "licence", "summary")
    return ComponentTable(headings, [(name, *_facts(task.facts()), summary(task)) for name, task in components.items()])


def _facts(facts: TaskFacts) -> tuple[str, ...]:
    counts = (UNKNOWN if count is None else f"{count:,}" for count in (facts.classes, facts.train, facts.test))
    rest = (facts.extra or UNKNOWN, _download(facts.assets), facts.licence or UNKNOWN)
    return facts.modality or UNKNOWN, *counts, *rest


def _download(assets: Sequence[str] | None) -> str:
    """How much the first use of a task downloads, and which program does it."""
    from fedbbpt.assets.catalogue import ASSETS

    if not assets:
        return UNKNOWN if assets is None else "none"
    found: list[Any] = [ASSETS[name] for name in assets]
    size = sum(asset.size for asset in found)
    programs = ", ".join(dict.fromkeys(asset.client for asset in found))
    return f"{size / MEGA:.0f} MB {programs}" if all(asset.size for asset in found) else f"? {programs}"

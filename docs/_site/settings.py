"""The reference of settings, as Markdown: what `fedbbpt config show` prints, and the options of every component."""

from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points

from fedbbpt import registry
from fedbbpt.config.description import OptionRow, describe, describe_fields, summary
from fedbbpt.config.schema import Config, Data

SECTIONS = [kind for kind in registry.KINDS if kind != "encoders"]
OWN_TASKS = entry_points(group="fedbbpt.tasks").names  # the public sets, rows of a table, have hardly an option


def reference() -> str:
    """All tables, with their headings."""
    parts = ["## Of a run", *_table(describe_fields(Config)), "## Of the data", *_table(_under("data", Data))]
    for kind in SECTIONS:
        parts += [f"## {kind.capitalize()}", f"`fedbbpt list {kind}` prints all names."]
        for name in registry.names(kind):
            if kind != "tasks" or name in OWN_TASKS:
                parts += _component(kind, name)
    return "\n\n".join(parts)


def _component(kind: str, name: str) -> Iterator[str]:
    found = describe(kind, name)
    yield f"### {name} {{ #{kind}-{name} }}"
    yield _cell(summary(registry.load(kind, name)))
    prefix = f"{kind.removesuffix('s')}."
    if found.options:
        yield from _table([row._replace(name=prefix + row.name) for row in found.options])
    if found.papers:
        yield "Source: " + "; ".join(found.papers) + "."


def _under(section: str, model: type[Data]) -> Iterable[OptionRow]:
    return [row._replace(name=f"{section}.{row.name}") for row in describe_fields(model)]


def _table(rows: Iterable[OptionRow]) -> Iterator[str]:
    """One table, as one part."""
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        cells = (f"`{row.name}`", row.type, f"`{row.default}`", row.help)
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    yield "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("{", "&#123;")

"""docs/estimators.md: what it names exists, what exists is named, and its tables are those of the stored numbers."""

import json
import re
from pathlib import Path

import pytest

from fedbbpt import registry
from fedbbpt.config.components import load_class, option_fields
from fedbbpt_benchmarks.experiments import boxes, stored_runs
from fedbbpt_benchmarks.experiments.estimators import __main__ as estimators

ROOT = Path(__file__).parents[1]
DOCS, RESULTS = ROOT / "docs", ROOT / "benchmarks" / "results"
PAGE = (DOCS / "estimators.md").read_text("utf-8")
PROSE = re.sub(r"(?s)```.*?```", "", PAGE)
QUOTED = sorted({*re.findall(r"`([^`]+)`", PROSE)})
NAMES = {kind: registry.names(kind) for kind in ("optimizers", "algorithms", "prompts", "readouts", "tasks")}
OPTIONS = {kind: {o for name in NAMES[kind] for o in option_fields(load_class(kind, name))} for kind in NAMES}


@pytest.mark.parametrize("kind", ["optimizers", "algorithms"])
def test_everything_that_the_registry_lists_is_named(kind: str) -> None:
    assert {*NAMES[kind]} - {*QUOTED} == set()


@pytest.mark.parametrize("word", [word for word in QUOTED if re.fullmatch(r"[a-z][a-z0-9_-]*", word)])
def test_a_name_is_that_of_a_component_or_of_an_option(word: str) -> None:
    assert any(word in names for names in (*NAMES.values(), *OPTIONS.values()))


@pytest.mark.parametrize("word", [word for word in QUOTED if re.search(r"(algorithm|optimizer)\.\w", word)])
def test_an_option_is_one_of_its_section(word: str) -> None:
    section, option = re.search(r"(algorithm|optimizer)\.(\w+)", word).groups()
    assert option in OPTIONS[f"{section}s"]


@pytest.mark.parametrize("file", [word for word in QUOTED if re.search(r"\.(py|jsonl)$", word)])
def test_a_file_is_there(file: str) -> None:
    assert any(place.is_file() for place in (ROOT / file, *(ROOT / "fedbbpt").rglob(file)))


@pytest.mark.parametrize("link", sorted({*re.findall(r"\]\((?!https?:)([^)]+)\)", PROSE)}))
def test_a_link_leads_somewhere(link: str) -> None:
    path, _, anchor = link.partition("#")
    target = DOCS / path if path else DOCS / "estimators.md"
    assert target.is_file()
    if anchor:
        headings = re.findall(r"(?m)^#+ (.*)$", target.read_text("utf-8"))
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_leads_here() -> None:
    assert "(docs/estimators.md)" in (ROOT / "README.md").read_text("utf-8")


def test_the_tables_are_those_of_the_stored_numbers() -> None:
    rows = [json.loads(line) for line in (RESULTS / "estimators.jsonl").read_text("utf-8").splitlines()]
    assert estimators.table(estimators.searches(rows)) in PAGE
    assert boxes.table(stored_runs.read(RESULTS / "boxes.jsonl")) in PAGE

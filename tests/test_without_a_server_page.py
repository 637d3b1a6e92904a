"""docs/without-a-server.md: its tables are those of the code and of the stored numbers, and its names exist."""

import re
from pathlib import Path

import networkx as nx
import pytest

from fedbbpt.config.components import load_class, option_fields
from fedbbpt.config.presets import SELECTABLE
from fedbbpt.topology import NAMES, contraction, make
from fedbbpt_benchmarks.experiments import without_server

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "without-a-server.md").read_text("utf-8")
NODES = 16
OPTIONS = {option for name in ("gossip", "flood") for option in option_fields(load_class("algorithms", name))}


def rows_of(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    below = PAGE.split(f"## {heading}\n")[1]
    table = re.search(r"(?m)(^\|.*\n)+", below)
    assert table
    return [[cell.strip() for cell in row.strip("|\n").split(" | ")] for row in table[0].splitlines()[2:]]


def test_the_table_of_topologies_is_that_of_the_code() -> None:
    rows = rows_of("Topologies")
    assert {re.findall(r"`([a-z-]+)", row[0])[0] for row in rows} == set(NAMES)
    for name, _, links, factor, *hops in rows:
        if name == "`file:PATH`":
            continue
        topology = make(re.findall("`(.*?)`", name)[0], NODES, 1)
        assert int(links) == topology.graph(0).number_of_edges()
        assert float(factor) == pytest.approx(contraction(topology), abs=6e-4)
        if topology.period == 1:
            assert int(hops[0].strip("| ")) == nx.diameter(topology.graph(0))


def test_the_bytes_are_those_of_messages_as_they_are_written() -> None:
    assert without_server.bytes_table() in PAGE


def test_the_results_are_those_of_the_stored_runs() -> None:
    rows = without_server.read(ROOT / "benchmarks" / "results" / "without-server.jsonl")
    assert len(rows) == 4 * 2 * 3 * 14
    assert without_server.table(rows) in PAGE


def test_presets_and_options_exist() -> None:
    presets = {row[0].strip("`") for row in rows_of("Gossip")}
    assert presets == {name for name in SELECTABLE if name.startswith("dfed")}
    assert {"gossip_steps", "readout_steps", "readout_lr", "topology"} <= OPTIONS
    for option in re.findall(r"algorithm\.(\w+)", PAGE):
        assert option in OPTIONS


def test_the_other_pages_lead_here() -> None:
    assert "(docs/without-a-server.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "(without-a-server.md)" in (ROOT / "docs" / "estimators.md").read_text("utf-8")

"""docs/without-a-server.md: its tables are those of the code and of the stored numbers, and its names exist."""

import re
import statistics
from collections import Counter
from itertools import product
from pathlib import Path

import networkx as nx
import pytest

from fedbbpt.config.components import load_class, option_fields
from fedbbpt.config.presets import SELECTABLE
from fedbbpt.topology import NAMES, contraction, make
from fedbbpt_benchmarks.experiments import compressed_letters, node_sharpness, stored_runs, without_server
from fedbbpt_benchmarks.experiments.consensus_rates import __main__ as consensus_rates
from fedbbpt_benchmarks.experiments.consensus_rates import softmax
from fedbbpt_benchmarks.experiments.consensus_rates.chart import draw
from fedbbpt_benchmarks.experiments.consensus_rates.curves import WAYS, Way, found

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = "".join(
    (ROOT / "docs" / name).read_text("utf-8") for name in ("without-a-server.md", "without-a-server-results.md")
)
NODES = 16
ALGORITHMS = "gossip", "gossip-sfprompt", "flood"
OPTIONS = {option for name in ALGORITHMS for option in option_fields(load_class("algorithms", name))}


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
    rows = stored_runs.read(RESULTS / "without-server.jsonl")
    for trained, ways in without_server.WAYS.items():
        of = [row for row in rows if row["trained"] == trained]
        blocks = Counter((row["seed"], row["alpha"]) for row in of)
        assert set(blocks.values()) == {4 * (len(without_server.BESIDE[trained]) + len(ways))}  # of four tasks
        each = Counter((row["method"], row["topology"]) for row in of)
        assert each == dict.fromkeys([*product(without_server.BESIDE[trained], [""]), *ways], 4 * len(blocks))
        assert without_server.table(of) in PAGE
        assert without_server.differences(of, without_server.COMPARED[trained]) in PAGE


def test_sharpness_is_that_of_the_stored_runs() -> None:
    rows = stored_runs.read(RESULTS / "node-sharpness.jsonl")
    assert [without_server.cell_of(row) for row in rows] == node_sharpness.cells([1])
    assert node_sharpness.table(rows) in PAGE


def test_compressed_letters_are_those_of_the_code_and_of_the_stored_runs() -> None:
    rows = stored_runs.read(RESULTS / "compressed-letters.jsonl")
    assert len(rows) == len(compressed_letters.COMPRESSIONS) * len(compressed_letters.SEEDS)
    assert compressed_letters.table(rows) in PAGE
    assert compressed_letters.bytes_table() in PAGE
    whole, fewest = (
        statistics.fmean(row["mean_accuracy"] for row in rows if row["compression"] == name)
        for name in ("none", "top-k:0.1")
    )
    assert f"their mean is {100 * (whole - fewest):.1f} points lower" in PAGE


class TestRates:
    """Error by rounds, beside the theory."""

    curves = consensus_rates.read(RESULTS / "consensus-rates.jsonl")

    def ends(self, problem: str, part: str, *, sharpness_aware: bool = False) -> list[float]:
        """One number of the last points of all ways, in their order."""
        ways = [way for way in WAYS if way.sharpness_aware == sharpness_aware]
        return [getattr(found(self.curves, problem, way).points[-1], part) for way in ways]

    def test_table_and_picture_are_those_of_the_stored_curves(self) -> None:
        assert consensus_rates.table(self.curves) in PAGE
        assert "(../benchmarks/results/consensus-rates.svg)" in PAGE
        assert (RESULTS / "consensus-rates.svg").read_text("utf-8") == draw(self.curves)

    def test_the_topology_is_little_of_the_error(self) -> None:
        gradients = self.ends("quadratic", "gradient")
        assert f"between them by {100 * (max(gradients) / min(gradients) - 1):.1f} % at most" in PAGE
        ring, complete = (found(self.curves, "quadratic", Way(name, 1, False)).points for name in ("ring", "complete"))
        above = max(a.gradient / b.gradient for a, b in zip(ring, complete, strict=True)) - 1
        assert f"never more than {100 * above:.1f} % above" in PAGE
        assert f"for {(1 - Way('ring', 1, False).mixed) ** -2:.0f} rounds" in PAGE

    def test_distances_follow_the_sum_of_all_rounds(self) -> None:
        near, far = Way("exponential", 4, False), Way("ring", 1, False)
        apart = [found(self.curves, "quadratic", way).points[-1].consensus_distance for way in (near, far)]
        sums = [way.mixed / (1 - way.mixed) for way in (near, far)]
        words = (
            f"grows {apart[1] / apart[0]:.0f}-fold from",
            f"{sums[1] / sums[0]:.0f}-fold, and $\\lambda^Q$ {far.mixed / near.mixed:.0f}-fold",
        )
        assert all(word in PAGE for word in words)

    def test_what_is_left_of_the_loss(self) -> None:
        losses = {way: found(self.curves, "softmax", way).points[-1].excess for way in WAYS}
        complete = losses[Way("complete", 1, False)]
        added = [f"{1e3 * (losses[Way('ring', q, False)] - complete):.2f}" for q in (1, 4)]
        bias = softmax.regression().bias_of_unequal_steps()
        assert f"is {1e3 * complete:.2f} thousandths above it after {softmax.ROUNDS} rounds" in PAGE
        assert f"{1e3 * bias:.2f} of them would stay" in PAGE
        assert f"adds {added[0]}, and with four averagings {added[1]}" in PAGE

    def test_what_sharpness_aware_gradients_change(self) -> None:
        farther = []
        for problem in ("quadratic", "softmax"):
            plain, sharp = (self.ends(problem, "consensus_distance", sharpness_aware=sam) for sam in (False, True))
            farther += [100 * (b / a - 1) for a, b in zip(plain[1:], sharp[1:], strict=True)]
        assert f"{min(farther):.1f} to {max(farther):.1f} % larger with them" in PAGE
        plain, sharp = (self.ends("softmax", "excess", sharpness_aware=sam) for sam in (False, True))
        nearer = [100 * (1 - b / a) for a, b in zip(plain, sharp, strict=True)]
        assert f"{min(nearer):.0f} to {max(nearer):.0f} % nearer" in PAGE


def test_presets_and_options_exist() -> None:
    presets = {row[0].strip("`") for row in rows_of("Gossip")}
    assert presets == {name for name in SELECTABLE if name.startswith("dfed")}
    assert {"gossip_steps", "readout_steps", "readout_lr", "topology", "consensus_step"} <= OPTIONS
    for option in re.findall(r"algorithm\.(\w+)", PAGE):
        assert option in OPTIONS


def test_the_other_pages_lead_here() -> None:
    assert "(docs/without-a-server.md)" in (ROOT / "README.md").read_text("utf-8")
    assert "(without-a-server.md)" in (ROOT / "docs" / "estimators.md").read_text("utf-8")

"""The tables of costs: by size of the model, and beside what is published."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedbbpt.config import Config
from fedbbpt.errors import RunError
from fedbbpt_benchmarks.bench import results
from fedbbpt_benchmarks.bench.plan import Bench, Cell
from fedbbpt_benchmarks.experiments.costs.__main__ import main
from fedbbpt_benchmarks.experiments.costs.accuracies import accuracies
from fedbbpt_benchmarks.experiments.costs.break_even import Bytes, bytes_of
from fedbbpt_benchmarks.experiments.costs.cost import Link
from fedbbpt_benchmarks.experiments.costs.formula import cost
from fedbbpt_benchmarks.experiments.costs.measure import METHODS
from fedbbpt_benchmarks.experiments.costs.paper_claims import matching, remarks
from fedbbpt_benchmarks.experiments.costs.scaling import by_size, settings_of
from fedbbpt_benchmarks.experiments.costs.vit_sizes import VIT_B, VIT_L

Configs = Callable[..., dict[str, Config]]


def test_bytes_are_linear_in_the_samples(make_configs: Configs) -> None:
    setting = settings_of(make_configs(), 500, 1, 1)["sfprompt"]
    found = bytes_of(VIT_B, setting)
    assert found.fixed + 500 * found.each == pytest.approx(cost(VIT_B, setting).bytes, rel=1e-9)
    assert Bytes(10, 1).meets(Bytes(40, 0), 0.5) == 10
    assert Bytes(10, 1).within(Bytes(40, 0), 0.5) == "n ≲ 10"
    assert Bytes(30, 1).within(Bytes(40, 4), 0.5) == "n ≳ 10"
    assert Bytes(10, 1).within(Bytes(40, 4), 0.5) == "any n"
    assert Bytes(30, 3).within(Bytes(40, 4), 0.5) == "no n"


def test_every_size_and_cut_has_a_row(make_configs: Configs) -> None:
    lines = by_size(make_configs(), (40, 1000)).splitlines()
    assert len(lines) == 2 + 3 * 4
    assert len({line.count("|") for line in lines}) == 1


def test_the_published_share_is_met(make_configs: Configs) -> None:
    methods = make_configs()
    n = round(matching(methods, VIT_L))
    found = {method: cost(VIT_L, setting) for method, setting in settings_of(methods, n, 1, 1).items()}
    assert found["sfprompt"].bytes / found["fl-full"].bytes == pytest.approx(0.19, abs=0.005)
    texts = list(remarks(methods, Link(54, 12, 0.02)))
    assert f"n = {n} for 0.19 (ViT-L/16)" in texts[1]


def test_published_accuracies_stand_beside_those_of_a_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"sfl-linear": (0.70, 0.72), "sfprompt": (0.74, 0.74)}  # by seed

    def read(_: Path, cell: Cell) -> dict[str, object] | None:
        if cell.task == "shapes":
            return None if cell.seed == 2 else {"error": None, "accuracy": 0.1}
        return {"error": None, "accuracy": scores[cell.method][cell.seed - 1] + 0.1 * (cell.task == "stripes")}

    monkeypatch.setattr(results, "read", read)
    settings = {"data": {"dirichlet_alpha": 0.1, "shots_per_class": 8}}
    Bench(("digits", "shapes", "stripes"), tuple(scores), (1, 2), settings, "sfl-linear").save(tmp_path)
    lines = accuracies([tmp_path]).splitlines()
    assert lines[2] == "| Caltech101, published | IID | 92.62 | 94.04 | +1.42 |"
    assert (
        lines[-1]
        == "| ours; tasks: 2, examples a class: 8, seeds: 2 | α = 0.1 | 76.0 ± 1.4 | 79.0 ± 0.0 | +3.0 ± 1.4 |"
    )
    Bench(("shapes",), tuple(scores), (1, 2), settings, "sfl-linear").save(tmp_path / "unfinished")
    with pytest.raises(RunError, match="no task that sfl-linear and sfprompt have finished"):
        accuracies([tmp_path / "unfinished"])


def test_the_program_prints_all_and_saves_what_was_measured(tiny: str, tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    result = CliRunner().invoke(main, ["--model", tiny, "--samples", "3", "--json", str(file)], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.count("| sfprompt |") == 4
    saved = json.loads(file.read_text())
    assert list(saved["methods"]) == list(METHODS)
    assert set(saved["methods"]["sfprompt"]) == {"cost", "formula", "memory", "times"}

"""A method that cuts the model in parts, from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Fedbbpt = Callable[..., Any]
SETTINGS = ["--clients", "2", "--shots", "2", "--rounds", "3", "-o", "data.test_limit=20"]
RATES = ["-o", "algorithm.rate=0.05", "-o", "algorithm.epochs=2"]


def test_a_run_counts_all_that_crosses_and_goes_on_after_an_interruption(
    fedbbpt: Fedbbpt, interrupted: Callable[..., str], outcome: Callable[[Path], Any], tmp_path: Path
) -> None:
    run = ["train", "--algorithm", "sfprompt", *SETTINGS, *RATES]
    planned = fedbbpt(*run, "--dry-run", check=True).stdout
    said = fedbbpt(*run, "--out", tmp_path / "whole", check=True).stdout
    assert "soft tokens (1536) + parts of the model" in said
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert f"{summary['queries']:,} queries in" in planned.splitlines()[-2]
    cut = 5 * 5 + 1 + 4  # tokens: patches, class token, prompt
    assert summary["bytes_up"] > summary["queries"] * cut * 384 * 4
    interrupted(*run, "--out", tmp_path / "stopped", at="round    1/3")
    fedbbpt("train", "--resume", tmp_path / "stopped", check=True)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")
    refused = fedbbpt("predict", tmp_path / "whole", tmp_path / "x.png")
    assert refused.returncode == 1
    assert "trained parts of the model" in refused.stderr
    assert "White box" in (tmp_path / "whole" / "report.html").read_text()


def test_what_cannot_be_cut_is_refused_in_a_sentence(fedbbpt: Fedbbpt, shapes: Path) -> None:
    for more, said in [
        (["--backend", "thumbnails", "--task", f"folder:{shapes}"], "needs a model that can be cut"),
        (["--prompt", "dct"], "use --prompt none and --readout identity"),
        (["-o", "algorithm.head=5", "-o", "algorithm.tail=3"], "has 8 blocks"),
    ]:
        refused = fedbbpt("train", "--algorithm", "sfprompt", *SETTINGS, *more)
        assert refused.returncode == 1
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr

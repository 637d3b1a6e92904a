"""A method that cuts the model in parts, from the command line."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from fedbbpt_backends.torchvision_compat import ensure_importable

Fedbbpt = Callable[..., Any]
SETTINGS = [
    "--clients",
    "2",
    "--shots-per-class",
    "1",
    "--rounds",
    "2",
    "-o",
    "data.validation_shots_per_class=1",
    "-o",
    "data.test_limit=20",
]
RATES = ["-o", "algorithm.lr=0.05", "-o", "algorithm.epochs=2"]


def test_a_run_counts_all_that_crosses_and_goes_on_after_an_interruption(
    in_process: Fedbbpt, interrupted: Callable[..., str], outcome: Callable[[Path], Any], tmp_path: Path
) -> None:
    run = ["train", "--algorithm", "sfprompt", *SETTINGS, *RATES]
    planned = in_process(*run, "--dry-run", check=True).stdout
    said = in_process(*run, "--out", tmp_path / "whole", check=True).stdout
    assert "soft tokens (1536) + parts of the model" in said
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert f"{summary['queries']:,} queries in" in planned.splitlines()[-3]
    cut = 5 * 5 + 1 + 4  # tokens: patches, class token, prompt
    assert summary["bytes_up"] > summary["queries"] * cut * 384 * 4
    interrupted(*run, "--out", tmp_path / "stopped", at="round    1/2")
    in_process("train", "--resume", tmp_path / "stopped", check=True)
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")
    refused = in_process("predict", tmp_path / "whole", tmp_path / "x.png")
    assert refused.returncode == 1
    assert "trained parts of the model" in refused.stderr
    assert "White box" in (tmp_path / "whole" / "report.html").read_text()


@pytest.mark.parametrize("kind", ["ViTForImageClassification", "ViTModel"])
def test_the_whole_model_may_know_other_classes_or_none(kind: str, in_process: Fedbbpt, tmp_path: Path) -> None:
    ensure_importable()
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 3}
    config = transformers.ViTConfig(image_size=8, patch_size=4, id2label={0: "cat", 1: "dog"}, **shape)
    getattr(transformers, kind)(config).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").write_text("{}")
    model = ["-o", f"backend.model=dir:{tmp_path / 'model'}", "-o", "algorithm.dtype=auto"]
    in_process("train", "--algorithm", "sfprompt", *SETTINGS, *model, "--out", tmp_path / "run", check=True)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["zero_shot_accuracy"], summary["queries_by_purpose"]["baseline"]) == (None, 0)
    kept = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert kept["algorithm"]["dtype"] in ("float32", "bfloat16")  # a run keeps what "auto" was when it began
    if kind == "ViTModel":
        asked = in_process("train", "--rounds", "1", *model[:2])
        assert (asked.returncode, asked.stderr.count("\n")) == (1, 1)
        assert "answers with features, not classes" in asked.stderr


def test_what_cannot_be_cut_is_refused_in_a_sentence(in_process: Fedbbpt, shapes: Path, tmp_path: Path) -> None:
    (texts := tmp_path / "texts.csv").write_text("text,label\nyes,a\nno,b\n")
    for more, said in [
        (["--backend", "openai", "--task", f"folder:{shapes}"], "splits a vision transformer"),
        (["--task", f"csv:{texts}"], "needs a task of images"),
        (["--prompt", "dct"], "use --prompt none and --readout none"),
        (["-o", "algorithm.head_blocks=5", "-o", "algorithm.tail_blocks=3"], "has 8 blocks"),
    ]:
        refused = in_process("train", "--algorithm", "sfprompt", *SETTINGS, *more)
        assert refused.returncode == 1
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr

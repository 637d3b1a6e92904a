"""A client whose model is elsewhere: no torch in its process, and little memory."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SAYS = """
from zlib import crc32

import numpy as np

from fedbbpt.backend import BackendOutput, Backend, BackendInfo


class Says(Backend):
    '''Answers with a class and no score; reads what stands there only if it is led to the answer in the right way.'''

    modalities = ("text",)

    def __init__(self, provider, /):
        self.info = BackendInfo("says", None, provider.classes, "probabilities", 64)

    def query(self, inputs):
        said = [self.info.classes.index(self._mood(text)) for text in inputs]
        return BackendOutput(np.eye(len(self.info.classes), dtype=np.float32)[said])

    @staticmethod
    def _mood(text):
        reads = text.endswith("In one word:") or crc32(text.encode()) % 3 == 0
        return "good" if reads and "bright" in text else "bad"
"""
ALGORITHMS = {
    "fedavg": ("--algorithm", "fedavg", "--optimizer", "bandit", "--readout", "identity", "--rounds", "12"),
    "ensemble": (),  # with a head: the defaults
}


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Those of a run on a table of reviews with the backend `says`, which lies beside it."""
    (tmp_path / "says.py").write_text(SAYS)
    info = tmp_path / "says-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: says\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedbbpt.backends]\nsays = says:Says\n")
    rows = [f'"a {("bright", "dull")[i % 2]} film, number {i}",{("good", "bad")[i % 2]}' for i in range(300)]
    (tmp_path / "reviews.csv").write_text("\n".join(["review,mood", *rows]))
    return [
        *("--backend", "says", "--task", f"csv:{tmp_path / 'reviews.csv'}", "--text-column", "review"),
        *("--label-column", "mood", "--clients", "3", "--prompt", "instruction"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_client_of_a_remote_model_is_small_and_finds_the_words(
    algorithm: str, options: list[str], tmp_path: Path, small: Callable[..., None]
) -> None:
    run = tmp_path / "run"
    small({"PYTHONPATH": str(tmp_path)}, "train", *options, *ALGORITHMS[algorithm], "--out", run)
    assert f'algorithm]\nname = "{algorithm}"' in (run / "config.toml").read_text()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["zero_shot_accuracy"] < 0.8
    assert summary["test_accuracy"] > 0.95
    assert len(summary["prompts"]) == summary["queries_per_input"]
    page = (run / "report.html").read_text()
    assert all(line in page for wording in summary["prompts"] for line in wording.splitlines())

"""Texts of a user's own, from the table to the prediction, with a third party's model that needs no torch."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
WORDS = """
import numpy as np

from fedbbpt.backend import BackendOutput, Backend, BackendInfo


class Words(Backend):
    '''Counts the words that the provider's examples of each class hold; every answer takes a token a word.'''

    modalities = ("text",)

    def __init__(self, provider, /):
        shots = provider.shots(None)
        self.info = BackendInfo("words", None, provider.classes, "logits", 64)
        self._known = [
            {word for i in np.flatnonzero(shots.labels == k) for word in shots.inputs[i].split()}
            for k in range(len(provider.classes))
        ]

    def query(self, inputs):
        words = [text.split() for text in inputs]
        scores = [[sum(word in known for word in text) for known in self._known] for text in words]
        return BackendOutput(np.array(scores, np.float32), sum(map(len, words)))
"""


@pytest.fixture(scope="module")
def texts(fedbbpt: Cli, third_party: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of reviews, beside the backend `words`."""
    (third_party / "words.py").write_text(WORDS)
    points = third_party / "own_backend-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text() + "words = words:Words\n")
    rng = np.random.default_rng(0)
    tell = {"good": ["fine", "great", "lovely", "bright"], "bad": ["dull", "awful", "sad", "grey"]}
    lines = ["review,mood,clinic"]
    for i in range(400):
        mood = ("good", "bad")[i % 2]
        words = [*rng.choice(tell[mood], 2), *rng.choice(["the", "a", "film", "plot", "cast"], 4), f"no{i}"]
        blank = " " if i == 7 else ""
        lines.append(f'"{" ".join(rng.permutation(words))}, {i}",{mood}{blank},{"ABC"[i % 3]}')
    table = tmp_path_factory.mktemp("texts") / "reviews.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture(scope="module")
def options(texts: Path) -> list[str]:
    return [
        *("--backend", "words", "--task", f"csv:{texts}", "--text-column", "review", "--label-column", "mood"),
        *("--clients", "3", "--rounds", "20", "-o", "task.provider_shots_per_class=8"),
    ]


def test_a_table_trains_scores_and_predicts(fedbbpt: Cli, options: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = fedbbpt("train", *options, "--out", run, check=True).stdout
    assert "'bad ' is read as 'bad' (in 1 of 400 rows)" in said
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test_accuracy"] > 0.9
    assert summary["tokens"] == 8 * summary["queries"]
    page = (run / "report.html").read_text()
    assert "tokens" in page
    assert " texts, were used only for the numbers" in page
    assert "image" not in page.partition("</style>")[2].partition("Environment")[0]
    assert f"{summary['test_accuracy']:.3f}" in fedbbpt("eval", run, check=True).stdout
    (tmp_path / "new.txt").write_text("a lovely bright film\n", "utf-8-sig")
    name, label, _ = fedbbpt("predict", run, tmp_path / "new.txt", check=True).stdout.split("\t")
    assert (Path(name).name, label) == ("new.txt", "good")


def test_every_clinic_is_a_client_and_tunes_for_itself(fedbbpt: Cli, options: list[str], tmp_path: Path) -> None:
    alone = ("-o", "data.partition=domain", "-o", "task.domain_column=clinic", "--algorithm", "local")
    fedbbpt("train", *options, *alone, "--out", tmp_path / "run", check=True)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["bytes_up"] == summary["bytes_down"] == 0
    assert summary["test_accuracy"] > 0.9
    refused = fedbbpt("predict", tmp_path / "run", tmp_path / "x.txt")
    assert refused.returncode == 1
    assert "share no parameters" in refused.stderr


def test_describe_shows_texts(fedbbpt: Cli, texts: Path, tmp_path: Path) -> None:
    columns = ("--text-column", "review", "--label-column", "mood")
    said = fedbbpt("task", "describe", f"csv:{texts}", *columns, check=True).stdout
    assert "0 of the test also in training" in said
    assert sum(line.startswith(("good ", "bad ")) for line in said.splitlines()) == 2 + 4  # counts, and two texts each
    refused = fedbbpt("task", "describe", f"csv:{texts}", *columns, "--sheet", tmp_path / "sheet.png")
    assert "holds texts" in refused.stderr


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (["--backend", "thumbnails"], "the backend 'thumbnails' does not go with texts"),
        (["--prompt", "affine"], "the prompt 'affine' does not go with texts"),
        (
            ["--label-column", "moods"],
            "no column 'moods' (it has 'review', 'mood', 'clinic'); choose one",
        ),
        (["--task", "digits"], "unknown option of task 'digits' 'text_column'"),
        (["--task", "csv:nowhere.csv"], "no such file"),
        (["-o", "data.partition=domain"], "this task has no domains"),
    ],
)
def test_mistakes_are_one_sentence(
    fedbbpt: Cli, options: list[str], changed: list[str], says: str, tmp_path: Path
) -> None:
    done = fedbbpt("train", *options, *changed, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_images_do_not_go_to_a_model_that_reads_texts(fedbbpt: Cli, texts: Path, shapes: Path) -> None:
    done = fedbbpt("train", "--backend", "words", "--task", f"folder:{shapes}", "--prompt", "none")
    assert done.returncode == 1
    assert "the backend 'words' does not go with images" in done.stderr

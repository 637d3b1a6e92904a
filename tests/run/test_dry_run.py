"""A dry run: what it refuses, what it does without, and that nothing comes of it but a plan."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedbbpt.cli import main

DESCRIPTION = """
modality = "text"
url = "https://model.example/score"
body = { inputs = "{inputs}" }
scores = "scores"
classes = ["ham", "eggs"]
kind = "logits"
max_inputs_per_request = 8
[auth]
variable = "KEY_OF_THE_MODEL"
"""
MISSING = "the key of OpenAI's API is missing: set OPENAI_API_KEY"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of texts in an empty folder, an empty cache, no keys, and no way out; the cache."""
    rows = [f"a text about {name} number {i},{name}" for i in range(90) for name in ("ham", "eggs")]
    (tmp_path / "texts.csv").write_text("text,label\n" + "\n".join(rows))
    (tmp_path / "model.toml").write_text(DESCRIPTION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBBPT_CACHE", str(tmp_path / "cache"))
    for variable in ("OPENAI_API_KEY", "KEY_OF_THE_MODEL"):
        monkeypatch.delenv(variable, raising=False)

    def connect(*_: object) -> None:
        raise AssertionError("a dry run opens no connection")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tmp_path / "cache"


def train(*options: object) -> Result:
    return CliRunner().invoke(main, ["train", "--task", "csv:texts.csv", *map(str, options)])


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("options", "note"),
    [
        (["--backend", "openai"], MISSING),
        (
            ["--backend", "http-json", "-o", "backend.endpoint_file=model.toml"],
            "set the environment variable KEY_OF_THE",
        ),
        ([], "minilm (83 MB) is not on this machine, and a dry run fetches nothing: fetch it with fedbbpt assets get"),
        (["-o", "backend.model=smollm2"], "smollm2 (93 MB) is not on this machine"),
    ],
    ids=["openai", "http-json", "minilm", "smollm2"],
)
def test_what_a_plan_does_not_need_is_noted(alone: Path, options: list[str], note: str) -> None:
    done = train("--dry-run", *options)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(("rounds", "estimated"))
    (said,) = done.stderr.splitlines()
    assert note in said
    assert left(alone.parent) == ["model.toml", "texts.csv"]


@pytest.mark.parametrize(
    "options",
    [
        ["-o", "backend.model=smollm2", "--prompt", "soft"],
        ["-o", "backend.classifier=prototypes", "--prompt", "none"],
        ["-o", "backend.model=bert-tiny", "-o", "backend.classifier=verbalizer"],
    ],
)
def test_a_model_that_must_be_opened_is_named_with_what_fetches_it(alone: Path, options: list[str]) -> None:
    done = train("--dry-run", *options)
    assert done.exit_code == 1
    assert "MB) is not on this machine, and a dry run fetches nothing: fetch it with fedbbpt assets get" in done.stderr
    assert not alone.exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--backend", "openai", "-o", "backend.model=unheard-of", "--max-cost", "1"],
        ["--backend", "openai", "--max-queries", "3"],
        ["--backend", "openai", "--max-requests", "3"],
        ["--backend", "openai", "--clients", "1000000000"],
        ["--backend", "openai", "-o", "backend.label_words=['a', 'a']"],
        ["-o", "backend.model=smollm2", "-o", "backend.label_words=['a']"],
        ["-o", "backend.model=smollm2", "-o", "backend.template='no place for it'"],
        ["--backend", "openai", "--out", "texts.csv/run"],
        ["--backend", "openai", "--out", "full"],
        ["--backend", "openai", "--engine", "processes"],
    ],
    ids=str,
)
def test_what_a_run_refuses_a_dry_run_refuses_in_the_same_words(
    alone: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
    Path("full").mkdir()
    Path("full", "config.toml").touch()
    dry = train("--dry-run", *options)
    assert dry.exit_code == 1
    if "backend.model=smollm2" not in options:  # which the run itself would fetch first
        run = train(*options)
        assert (run.exit_code, run.stderr) == (1, dry.stderr)
    assert dry.stderr.startswith("Error: ")
    assert "is not on this machine" not in dry.stderr
    assert left(Path("full")) == ["config.toml"]


def test_data_that_would_be_fetched_are_named(alone: Path) -> None:
    done = CliRunner().invoke(main, ["train", "--task", "mnist", "--dry-run"])
    assert done.exit_code == 1
    assert "mnist (11 MB) is not on this machine" in done.stderr
    assert "fetch it with fedbbpt assets get mnist" in done.stderr
    assert not alone.exists()


def test_an_absurd_number_of_rounds_is_one_sentence(alone: Path) -> None:
    done = train("--backend", "openai", "--dry-run", "--rounds", 10**30)
    assert done.exit_code == 1
    assert "rounds: input should be less than or equal to 1000000000" in done.stderr

"""Options of `fedbbpt train --resume` for a run at the sites of a federation."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fedbbpt import registry
from fedbbpt.cli import main
from fedbbpt.federation.server import train_run
from fedbbpt.run.callback import Callback
from tests.federation.in_memory import Colours, open_sites, write_images


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose federation is away since."""
    registry.register("backends", "colours", Colours)
    root = tmp_path_factory.mktemp("run")
    channel = open_sites(root / "kits", write_images(root / "data", ["rome"]))
    settings = {"rounds": 1, "data": {"shots_per_class": 3, "validation_shots_per_class": 2}}
    engine = {"name": "nvflare", "federation": str(root / "federation")}
    (root / "run").mkdir()
    train_run(channel, settings | {"engine": engine}, None, root / "run", Callback())
    return root / "run"


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        (("--rounds", "9"), "rounds is 1, not 9"),
        (("--max-queries", "50"), "max_queries is None, not 50"),
        (("--min-sites", "2"), "engine.min_sites is 1, not 2"),
        (("-o", "prompt.epsilon=0.5"), "prompt.epsilon is"),
        (("--algorithm", "fedavg"), "algorithm.name is ensemble, not fedavg"),
        (("--federation", "elsewhere"), "engine.federation is"),
    ],
)
def test_another_setting_is_refused_in_one_sentence(options: tuple[str, ...], setting: str, run: Path) -> None:
    result = CliRunner().invoke(main, ["train", "--resume", str(run), *options])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: a resumed run keeps its settings: ")
    assert setting in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [(), ("--rounds", "1"), ("--federation", "federation")])
def test_the_same_settings_are_not(options: tuple[str, ...], run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    result = CliRunner().invoke(main, ["train", "--resume", str(run), *options])
    assert result.stderr.startswith("Error: there is no federation in ")

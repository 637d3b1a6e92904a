"""Whole runs in this process, on a model that answers at once."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedbbpt.backend import Provider
from fedbbpt.config import make_config
from fedbbpt.prompts.affine import Affine
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run import again, train
from fedbbpt.run.callback import Callback
from fedbbpt.run.query_budget import QueryPlan
from fedbbpt.run.setup import Experiment
from fedbbpt.testing import ToyBackend


class Watch(Callback):
    """Keeps plans and messages; stops a run once, at the validation row of a round."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.plans: list[QueryPlan] = []
        self.messages: list[str] = []
        self.stop_at = stop_at

    def on_plan(self, plan, experiment, rounds_done) -> None:
        self.plans.append(plan)

    def on_message(self, text) -> None:
        self.messages.append(text)

    def on_round(self, row) -> None:
        if row["round"] == self.stop_at:
            self.stop_at = None
            raise KeyboardInterrupt


@pytest.fixture
def make_watch() -> type[Watch]:
    """The class of callbacks that watch a run."""
    return Watch


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, clients, tmp_path: Path) -> Callable[..., dict]:
    """Trains on the toy backend, or goes on where it stopped; `fails` as in the toy backend.

    `run.backends` has the backend of each call, and `run.experiment` the last experiment.
    """
    everybody = clients

    def go(
        fails=None,
        rounds=3,
        tuned=(Affine, LinearReadout),
        callback=train.NO_CALLBACK,
        folder=tmp_path / "run",
        backend=None,
        clients=None,
        **settings,
    ):
        backend = backend or ToyBackend(fails=fails)
        unprompted = {"prompt": {"name": "none"}} if tuned[0] is NoPrompt else {}
        config = make_config({"rounds": rounds, "backend": {"name": "local-vit"}, **unprompted, **settings})
        tuned = tuned[0]((8, 8)), tuned[1](backend.info, backend.info.classes)
        task = SimpleNamespace(
            classes=backend.info.classes, modality="image", source=None, provider=Provider(backend.info.classes)
        )
        experiment = Experiment(config, task, backend, *tuned, clients or everybody)
        for module in (train, again):
            monkeypatch.setattr(module, "open_experiment", lambda *_: experiment)
        go.backends.append(backend)
        go.experiment = experiment
        begun = (folder / "config.toml").exists()
        return train.resume(folder, callback) if begun else train.train(config, folder, callback)

    go.backends = []
    return go

"""Whole runs in this process, on a model that answers at once, with their reports; and made-up checkpoints."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.algorithms import ServerState
from fedbbpt.backend import Provider
from fedbbpt.config import make_config
from fedbbpt.prompts.affine import Affine
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.run import again, environment, train
from fedbbpt.run.callback import Callback
from fedbbpt.run.checkpoint import Best, Progress, Totals, save
from fedbbpt.run.metrics import Mark
from fedbbpt.run.query_budget import QueryPlan
from fedbbpt.run.report.page import write_report
from fedbbpt.run.simulation import Simulation
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
        classes=None,
        clients=None,
        **settings,
    ):
        backend = backend or ToyBackend(fails=fails)
        unprompted = {"prompt": {"name": "none"}} if tuned[0] is NoPrompt else {}
        config = make_config({"rounds": rounds, "backend": {"name": "local-vit"}, **unprompted, **settings})
        classes = classes or backend.info.classes
        tuned = tuned[0]((8, 8)), tuned[1](backend.info, classes)
        task = SimpleNamespace(classes=classes, modality="image", source=None, provider=Provider(classes), remarks=())
        experiment = Simulation(config, task, backend, *tuned, clients or everybody)
        for module in (train, again):
            monkeypatch.setattr(module, "open_simulation", lambda *_: experiment)
        go.backends.append(backend)
        go.experiment = experiment
        begun = (folder / "config.toml").exists()
        return train.resume(folder, callback) if begun else train.train(config, folder, callback)

    go.backends = []
    return go


@pytest.fixture
def progress():
    """`progress(round)`: what a checkpoint holds after this round."""

    def after(round_):
        rng = np.random.default_rng(round_)
        current, best = (
            {"prompt": rng.normal(size=5).astype(np.float32), "readout": np.zeros(0, np.float32)} for _ in range(2)
        )
        state = ServerState(round_, current, {"client-000": rng.normal(size=(2, 3, 4)).astype(np.float32)})
        totals = Totals(10 * round_, round_, 7, 8, seconds=0.1 + 0.2)
        return Progress(state, Best(1, 0.5, 1 / 3, 0.3, 0.4, best), totals, Mark(99, "f" * 64), "config", "data")

    return after


@pytest.fixture
def checkpoints(tmp_path, progress) -> Path:
    """A folder with checkpoints of the rounds 1 and 2."""
    for round_ in (1, 2):
        save(tmp_path, progress(round_))
    return tmp_path


@pytest.fixture
def contents():
    """`contents(progress)`: all of it, to be compared; arrays with their types, shapes and bits."""

    def comparable(value):
        if isinstance(value, dict):
            return {key: comparable(one) for key, one in value.items()}
        return (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value

    return lambda progress: comparable(asdict(progress))


class Page(HTMLParser):
    """Checks that tags are balanced; collects tags and texts, and the texts of tables by row and cell."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.tags = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join("".join(self.texts).split())
        rows = [re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in re.findall("<tr>.*?</tr>", html, re.DOTALL)]
        self.rows = [[" ".join(re.sub("<.*?>", "", unescape(cell)).split()) for cell in row] for row in rows]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open += [tag] if tag not in ("meta", "img") else []

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag, style=""):
        """The attributes of all such tags."""
        return [a for t, a in self.tags if t == tag and style in ["", *(a.get("class") or "").split()]]


class Report:
    """The report of a finished run: `html`, its `page`, and the `summary` that it is made of."""

    def __init__(self, folder, experiment):
        self.folder, self.experiment = folder, experiment
        self.write()

    def write(self, **changes):
        """Writes the report, of another summary where there are changes."""
        summary = self.folder / "summary.json"
        if changes:
            summary.write_text(json.dumps(self.summary | changes))
            environment.add_result_checksums(self.folder)
        path = write_report(self.folder, self.experiment, again.load_best(self.folder, self.experiment)[1])
        self.summary, self.html = json.loads(summary.read_text()), path.read_text("utf-8")
        self.page = Page(self.html)


@pytest.fixture
def make_page() -> type[Page]:
    """`make_page(html)`: its tags and texts."""
    return Page


@pytest.fixture
def make_report(run, make_backend, tmp_path):
    """`make_report(prompt, readout, optimizer, algorithm, classes, known, clients, …)`: of a run that just finished.

    `known` are the classes of the model, if they are not those of the task.
    """

    def make(
        prompt="dct",
        readout="linear",
        optimizer="spsa",
        algorithm="fedavg",
        classes=("red", "green", "blue"),
        known=None,
        **settings,
    ):
        names = {"prompt": prompt, "readout": readout, "optimizer": optimizer, "algorithm": algorithm}
        tuned = registry.load("prompts", prompt), registry.load("readouts", readout)
        components = {k: name if isinstance(name, dict) else {"name": name} for k, name in names.items()}
        run(tuned=tuned, backend=make_backend(classes=known or classes), classes=classes, **components, **settings)
        return Report(tmp_path / "run", run.experiment)

    return make

"""What a bench consists of: suites of tasks, methods as settings, and the cells that they make."""

import itertools
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from fedbbpt import registry
from fedbbpt.backend import Modality
from fedbbpt.errors import ConfigError, RunError, UnknownName
from fedbbpt.run.config import Config, make_config, override
from fedbbpt.run.evaluate import READOUT_ROUNDS
from fedbbpt.run.files import write_json, writing
from fedbbpt.run.options import load_class
from fedbbpt_benchmarks import suite

SUITES = {
    "smoke": ("digits", "digits-iid", "shapes", "stripes", "pillow-letters", "sample-photos"),
    "offline": ("digits", *suite.IMAGES, *suite.TEXTS),
    "papers": tuple(suite.PAPERS),
}
NO_PROMPT = {"prompt": {"name": "none"}}
CENTRAL = {"data": {"clients": 1}}
LOCAL = {"algorithm": {"name": "local"}}
PROMPTED: tuple[Modality, ...] = ("image",)  # the only one for which there are prompts


class Method(NamedTuple):
    """A way to get predictions, as settings of a run."""

    title: str
    settings: Mapping[str, Any]
    modalities: tuple[Modality, ...] = ("image", "text")


METHODS = {
    "zero-shot": Method("the model as it is", {"rounds": 0, "readout": {"name": "identity"}, **NO_PROMPT}),
    "head": Method("a linear head on the answers", {"rounds": READOUT_ROUNDS, **NO_PROMPT}),
    "head-central": Method("the same, all data in one hand", {"rounds": READOUT_ROUNDS, **NO_PROMPT, **CENTRAL}),
    "head-local": Method("the same, every client for itself", {"rounds": READOUT_ROUNDS, **NO_PROMPT, **LOCAL}),
    "prompt": Method("a prompt by SPSA-GC, no head", {"readout": {"name": "identity"}}, PROMPTED),
    "spsa-gc": Method("prompt and head, by SPSA-GC", {}, PROMPTED),
    "spsa-gc-central": Method("the same, all data in one hand", CENTRAL, PROMPTED),
    "spsa-gc-local": Method("the same, every client for itself", LOCAL, PROMPTED),
    "spsa": Method("prompt and head, by SPSA", {"optimizer": {"name": "spsa"}}, PROMPTED),
    "sep-cma": Method("prompt and head, by separable CMA-ES", {"optimizer": {"name": "sep-cma"}}, PROMPTED),
}


@dataclass(frozen=True)
class Cell:
    """One run of the bench."""

    task: str
    method: str
    seed: int

    @property
    def path(self) -> Path:
        """Its folder below the bench's."""
        return Path(self.task.replace(":", "-").replace("/", "-")) / self.method / f"seed-{self.seed}"


@dataclass(frozen=True)
class Bench:
    """Everything that decides a bench's results."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]  # of every cell; its method's win

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in METHODS:
                raise UnknownName("method", name, METHODS)
        known = registry.names("tasks")
        for name in self.tasks:
            if name.partition(":")[0] not in known:
                raise UnknownName("task", name, known)
        if not self.cells:
            raise ConfigError("a bench needs at least one task, one method that goes with it, and one seed")

    @cached_property
    def cells(self) -> list[Cell]:
        """In the order of tasks, then methods, then seeds; without methods that do not go with the task's modality."""
        holds = {task: load_class("tasks", task).modality for task in self.tasks}
        pairs = itertools.product(self.tasks, self.methods)
        fitting = [(task, method) for task, method in pairs if holds[task] in METHODS[method].modalities]
        return [Cell(task, method, seed) for task, method in fitting for seed in self.seeds]

    @property
    def command(self) -> str:
        """What starts this bench anew."""
        suite = next((name for name, tasks in SUITES.items() if tasks == self.tasks), None)
        options = {"--suite": suite} if suite else {"--tasks": ",".join(self.tasks)}
        options |= {"--methods": ",".join(self.methods), "--seeds": ",".join(map(str, self.seeds))}
        words = [word for option in options.items() for word in option]
        words += [word for key, value in _flat(self.settings) for word in ("-o", f"{key}={value}")]
        return f"fedbbpt bench {shlex.join(words)}"

    def config(self, cell: Cell) -> Config:
        """The settings of a cell's run."""
        values: dict[str, Any] = {"seed": cell.seed, "task": {"name": cell.task}}
        for layer in (self.settings, METHODS[cell.method].settings):
            _merge(values, layer)
        return make_config(values)

    def save(self, out: Path) -> None:
        """Writes `bench.json`, which `load` reads."""
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        write_json(out / "bench.json", asdict(self))

    @classmethod
    def load(cls, out: Path) -> "Bench":
        """The bench whose folder this is.

        Raises:
            RunError: there is none.
        """
        try:
            kept = json.loads((out / "bench.json").read_text("utf-8"))
        except (OSError, json.JSONDecodeError) as e:
            raise RunError(f"no bench in {out} (it has no readable bench.json)") from e
        return cls(tuple(kept["tasks"]), tuple(kept["methods"]), tuple(kept["seeds"]), kept["settings"])


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _merge(values: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Lays settings over others, section by section."""
    for key, value in layer.items():
        if isinstance(value, Mapping):
            for option, inner in value.items():
                override(values, f"{key}.{option}", inner)
        else:
            override(values, key, value)

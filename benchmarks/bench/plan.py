"""A bench: suites of tasks, methods as settings, and the cells (task × method × seed) that they span."""

import itertools
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from fedbbpt import registry
from fedbbpt.backend import Modality
from fedbbpt.config import Config, make_config
from fedbbpt.config.components import load_class, modalities_of, resolve, task_modality
from fedbbpt.config.presets import PRESETS
from fedbbpt.config.settings import override, read_toml
from fedbbpt.errors import ConfigError, RunError, UnknownName
from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt_benchmarks import suite
from fedbbpt_benchmarks.bench import white_box

SUITES = {
    "smoke": ("digits", "digits-iid", "shapes", "stripes", "pillow-letters", "sample-photos"),
    "offline": ("digits", *suite.IMAGES, *suite.TEXTS),
    "papers": tuple(suite.PAPERS),
    "white-box": ("cifar10", "clipart", "scripts", "emoji-twitter", "pillow-letters"),  # for what needs gradients
}
LIST = "fedbbpt bench --list"  # prints all methods
PLAN = "bench.toml"  # of a bench's folder
NO_PROMPT = {"prompt": {"name": "none"}}
CENTRALISED = {"data": {"clients": 1}}
LOCAL = {"algorithm": {"name": "local"}}
IMAGES_ONLY: tuple[Modality, ...] = ("image",)  # modalities of a run's prompt by default
TEXTS_ONLY: tuple[Modality, ...] = ("text",)


class Method(NamedTuple):
    """A method to compare, as settings of a run."""

    title: str
    settings: Mapping[str, Any]
    modalities: tuple[Modality, ...] = ("image", "text")

    @property
    def access(self) -> str:
        """The clients' access to the model: answers, weights, or what crosses the cuts of a split model."""
        algorithm = self.settings.get("algorithm", {})
        if "name" not in algorithm or load_class("algorithms", algorithm["name"]).access == "black-box":
            return "answers"
        if algorithm.get("topology") == "federated":
            return "weights"
        return "activations" if algorithm.get("trainable") == "linear" else "activations and gradients"


LINEAR_READOUT = {"rounds": 1, **NO_PROMPT}
NO_READOUT = {"readout": {"name": "identity"}}
FEDAVG = {"name": "fedavg", "batch_size": 128}
BDPL = {"prompt": {"name": "discrete"}, "optimizer": {"name": "bdpl"}, "algorithm": FEDAVG, **NO_READOUT}
ONE_CLIENT_PER_ROUND = {**FEDAVG, "clients_per_round": 1}
BBT = {
    "prompt": {"name": "soft"},
    "optimizer": {"name": "sep-cma", "population_size": 20},
    "algorithm": FEDAVG,
    **NO_READOUT,
}


def _by_chance(preset: str) -> Mapping[str, Any]:
    """The preset's settings, but no answer decides which prompts join."""
    return PRESETS[preset] | {"algorithm": PRESETS[preset]["algorithm"] | {"selection": "random"}}


METHODS = {
    "zero-shot": Method("the untuned model", {"rounds": 0, "readout": {"name": "identity"}, **NO_PROMPT}),
    "head": Method("a linear head on the answers", LINEAR_READOUT),
    "head-central": Method("a linear head, centralised", LINEAR_READOUT | CENTRALISED),
    "head-local": Method("a linear head, local to each client", LINEAR_READOUT | LOCAL),
    "default": Method("the default: for images one prompt and a head, chosen together", {}),
    "default-central": Method("the default, centralised", CENTRALISED),
    "random-prompt": Method(
        "chance: the default's queries and head, but a prompt drawn at random, whatever the model answers",
        {"algorithm": {"selection": "random"}},
        IMAGES_ONLY,
    ),
    "best": Method("eight prompts and a head, chosen greedily", PRESETS["best"], IMAGES_ONLY),
    "random-views": Method(
        "chance: the queries and head of best, but prompts drawn at random, whatever the model answers",
        _by_chance("best"),
        IMAGES_ONLY,
    ),
    "newton": Method("one prompt by Gauss-Newton steps, and a head", {"algorithm": {"name": "newton"}}, IMAGES_ONLY),
    "prompt": Method("a prompt by SPSA-GC, no head", {"readout": {"name": "identity"}}, IMAGES_ONLY),
    "fed-bbpt": Method(
        "Fed-BBPT: BlackVIP's generator by SPSA-GC and FedAvg, no head", PRESETS["fed-bbpt"], IMAGES_ONLY
    ),
    "blackvip": Method("BlackVIP's prompt and settings, no head", PRESETS["blackvip"], IMAGES_ONLY),
    **{
        name: Method(title, {"algorithm": white_box.SETTINGS | options}, IMAGES_ONLY)
        for name, (title, options) in white_box.METHODS.items()
    },
    "contextual": Method(
        "the untuned model, calibrated with content-free texts",
        {"rounds": 0, "readout": {"name": "contextual-calibration"}, **NO_PROMPT},
        TEXTS_ONLY,
    ),
    "instructions": Method("four instructions and a head, chosen greedily", PRESETS["language-model"], TEXTS_ONLY),
    "random-instructions": Method("chance: instructions drawn at random", _by_chance("language-model"), TEXTS_ONLY),
    "bandit": Method(
        "an instruction by a bandit, no head",
        BDPL | {"prompt": {"name": "instruction"}, "optimizer": {"name": "bandit"}},
        TEXTS_ONLY,
    ),
    "bdpl": Method("BDPL: words by policy gradient, no head, centralised", BDPL | CENTRALISED, TEXTS_ONLY),
    "fed-bdpl": Method("BDPL, federated", BDPL, TEXTS_ONLY),
    "fedone": Method("BDPL, one client per round", BDPL | {"algorithm": ONE_CLIENT_PER_ROUND}, TEXTS_ONLY),
    "bbt": Method("BBT: a soft prompt by an evolution strategy, no head, centralised", BBT | CENTRALISED, TEXTS_ONLY),
    "fed-bbt": Method("BBT, federated by averaging", BBT, TEXTS_ONLY),
    "fedbpt": Method("BBT, federated by FedBPT", BBT | {"algorithm": {"name": "fedbpt"}}, TEXTS_ONLY),
}


def method(name: str) -> Method:
    """A method by its name in the table, or as SEARCH+PROMPT.

    SEARCH is an optimizer, which tunes one prompt and a head by FedAvg, or `ensemble`.

    Raises:
        UnknownName: no such method, optimizer or prompt.
    """
    if name in METHODS:
        return METHODS[name]
    search, plus, prompt = name.partition("+")
    searches = ["ensemble", *registry.names("optimizers")]
    if not plus or search not in searches:
        raise UnknownName("method", name, [*METHODS, *(f"{known}+PROMPT" for known in searches)], LIST)
    modalities_of(prompt)
    if search == "ensemble":
        return Method(f"several prompts ({prompt}) and a head", {"prompt": {"name": prompt}}, IMAGES_ONLY)
    settings = {"prompt": {"name": prompt}, "optimizer": {"name": search}, "algorithm": {"name": "fedavg"}}
    return Method(f"a prompt ({prompt}) by {search}, and a head", settings, IMAGES_ONLY)


@dataclass(frozen=True)
class Cell:
    """One run of the bench."""

    task: str
    method: str
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """Task, method and seed."""
        return self.task, self.method, self.seed

    @property
    def path(self) -> Path:
        """Its folder below the bench's."""
        return Path(self.task.replace(":", "-").replace("/", "-")) / self.method / f"seed-{self.seed}"


@dataclass(frozen=True)
class Bench:
    """Everything that determines the results of a bench."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]  # of every cell; its method's win
    against: str = "zero-shot"  # the method that the others are compared with

    def __post_init__(self) -> None:
        for name in (*self.methods, self.against):
            method(name)
        known = registry.names("tasks")
        for name in self.tasks:
            if name.partition(":")[0] not in known:
                raise UnknownName("task", name, known)
        if not self.cells:
            raise ConfigError("a bench needs at least one task, one method that goes with it, and one seed")

    @cached_property
    def cells(self) -> list[Cell]:
        """In the order of tasks, then methods, then seeds; without methods that do not go with the task's modality."""
        holds = {task: task_modality(resolve("tasks", task, {})) for task in self.tasks}
        pairs = itertools.product(self.tasks, self.methods)
        fitting = [(task, name) for task, name in pairs if holds[task] in method(name).modalities]
        return [Cell(task, name, seed) for task, name in fitting for seed in self.seeds]

    @property
    def command(self) -> str:
        """The command that starts this bench again."""
        suite = next((name for name, tasks in SUITES.items() if tasks == self.tasks), None)
        options = {"--suite": suite} if suite else {"--tasks": ",".join(self.tasks)}
        options |= {"--methods": ",".join(self.methods), "--seeds": ",".join(map(str, self.seeds))}
        options |= {} if self.against == Bench.against else {"--against": self.against}
        words = [word for option in options.items() for word in option]
        words += [word for key, value in _flat(self.settings) for word in ("-o", f"{key}={value}")]
        return f"fedbbpt bench {shlex.join(words)}"

    def config(self, cell: Cell) -> Config:
        """The settings of a cell's run; by default without early stopping, so that all are alike."""
        values: dict[str, Any] = {"seed": cell.seed, "task": {"name": cell.task}, "patience": 0}
        for layer in (self.settings, method(cell.method).settings):
            merge_settings(values, layer)
        return make_config(values)

    def save(self, out: Path) -> None:
        """Writes `bench.toml`, which `load` reads; in JSON, an infinite `data.dirichlet_alpha` would be lost."""
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / PLAN, tomli_w.dumps(asdict(self)).encode())

    @classmethod
    def load(cls, out: Path) -> "Bench":
        """The bench whose folder this is.

        Raises:
            RunError: there is none.
            ConfigError: its `bench.toml` cannot be read.
        """
        if not (out / PLAN).is_file():
            raise RunError(f"no bench in {out} (it has no {PLAN})")
        saved = read_toml(out / PLAN)
        try:
            return cls(**saved | {part: tuple(saved[part]) for part in ("tasks", "methods", "seeds")})
        except (LookupError, TypeError, AttributeError) as e:
            raise ConfigError(f"{out / PLAN} is not what a bench writes: {e}") from e


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Tables last, as in TOML, so that a bench that was read back says the same."""
    for key, value in sorted(settings.items(), key=lambda item: isinstance(item[1], Mapping)):
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def merge_settings(values: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Merges the settings of `layer` into `values` in place, section by section; those of `layer` win."""
    for key, value in layer.items():
        if isinstance(value, Mapping):
            for option, inner in value.items():
                override(values, f"{key}.{option}", inner)
        else:
            override(values, key, value)

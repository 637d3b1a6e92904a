"""The runs that a run of SFPrompt is drawn beside: the other tunings, and other numbers of clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fedbbpt.config import Config, make_config
from fedbbpt.errors import ConfigError, RunError
from fedbbpt.run.settings import load_run_settings
from fedbbpt_benchmarks.bench import white_box
from fedbbpt_benchmarks.bench.plan import Bench, Cell, merge_settings

TUNINGS = {"sfl-full": "full fine-tuning", "sfl-linear": "linear", "sfprompt": "SFPrompt"}  # of the bench's methods


@dataclass(frozen=True)
class Tuning(Cell):
    """One of the runs."""

    clients: int

    @property
    def path(self) -> Path:
        """Its folder below `RUN/figures`."""
        return Path(f"clients-{self.clients:03d}") / self.method

    def __str__(self) -> str:
        return f"{TUNINGS[self.method]} with {self.clients} client{'s' if self.clients != 1 else ''}"


@dataclass(frozen=True)
class Tunings(Bench):
    """All of them, but for the run itself; the bench's runner brings them to their end."""

    clients: tuple[int, ...] = ()
    own: int = 0  # clients of the run itself, which stands for SFPrompt there

    @cached_property
    def cells(self) -> list[Cell]:
        """In the order of their numbers of clients, then tunings."""
        everything = [self.cell(clients, name) for clients in self.clients for name in self.methods]
        return [cell for cell in everything if cell != self.cell(self.own, "sfprompt")]

    def cell(self, clients: int, method: str) -> Tuning:
        """One tuning by so many clients."""
        return Tuning(self.tasks[0], method, self.seeds[0], clients)

    def config(self, cell: Cell) -> Config:
        """The run's settings, with the options of the tuning over them, and its number of clients."""
        assert isinstance(cell, Tuning)  # `cells` holds no others
        values: dict[str, Any] = {}
        _, options = white_box.METHODS[cell.method]
        for layer in (self.settings, {"algorithm": options, "data": {"clients": cell.clients}}):
            merge_settings(values, layer)
        return make_config(values)


def beside(run: Path, clients: Sequence[int]) -> Tunings:
    """What to train beside the run in a folder, by these numbers of clients and its own.

    Raises:
        RunError: there is no finished run of SFPrompt.
    """
    settings = load_run_settings(run)
    config = make_config(settings)
    trained = config.algorithm.options.get("trainable")
    if config.algorithm.name != "sfprompt" or trained != "prompt":
        what = f"sfprompt with trainable={trained}" if trained else config.algorithm.name
        raise RunError(
            f"figures are drawn of a run of --algorithm sfprompt as it is, and {run} is one of {what}; the others are "
            "trained beside it"
        )
    if not (run / "summary.json").is_file():
        raise RunError(f"{run} is not finished; go on with fedbbpt train --resume {run}, then draw its figures")
    return Tunings(
        tasks=(config.task.name,),
        methods=tuple(TUNINGS),
        seeds=(config.seed,),
        settings=_in_this_process(settings),
        clients=tuple(sorted({*clients, config.data.clients})),
        own=config.data.clients,
    )


def numbers(text: str) -> list[int]:
    """Numbers of clients from `5,10,20`.

    Raises:
        ConfigError: something else.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"--clients wants numbers of 1 or more with commas between them, got {text!r}")
    return [int(part) for part in parts]


def _in_this_process(settings: dict[str, Any]) -> dict[str, Any]:
    """With body and clients here, as full fine-tuning needs it; results do not depend on where they are."""
    algorithm = {key: value for key, value in settings["algorithm"].items() if key != "body_url"}
    return settings | {"algorithm": algorithm, "engine": {"name": "serial"}}

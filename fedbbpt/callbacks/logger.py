"""What the loggers share: which numbers of a run they log, and how their errors are said."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from fedbbpt.config import Config
from fedbbpt.errors import FedbbptError, RunError
from fedbbpt.printing import excerpt
from fedbbpt.run.atomic_files import checksum
from fedbbpt.run.callback import Callback
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.query_budget import QueryPlan
from fedbbpt.run.resume import config_sha256
from fedbbpt.web.urls import redact_url

COMPONENTS = ("backend", "task", "prompt", "readout", "optimizer", "algorithm", "engine")
SCORES = ("accuracy", "loss")


class Logger(Callback):
    """Logs the rows of the metrics and the summary, as numbers; nothing of single clients.

    An error of what it logs with stops the run, which can be resumed with or without it.
    """

    name: ClassVar[str]  # for messages

    def __init__(self, target: str, /) -> None:
        self.target, self.is_complete = target, False

    @abstractmethod
    def start(self, title: str, fingerprint: str, settings: Mapping[str, Any], rounds_done: int) -> None:
        """Opens the log.

        Args:
            title: the run, for people.
            fingerprint: of settings and data, the same when the run is resumed.
            settings: names and numbers of the config.
            rounds_done: 0 for a new run.
        """

    @abstractmethod
    def log(self, numbers: Mapping[str, float], round_: int) -> None:
        """Logs numbers of a round, by names such as validation/accuracy."""

    @abstractmethod
    def finish(self, results: Mapping[str, float]) -> None:
        """Logs the numbers of the summary."""

    @abstractmethod
    def stop(self) -> None:
        """Closes the log, if it is open; `is_complete` says whether the run came to its end."""

    def on_plan(self, plan: QueryPlan, experiment: Experiment, rounds_done: int) -> None:
        """See `Callback`."""
        config = experiment.config
        parts = f"{config.prompt.name} + {config.readout.name}, {config.algorithm.name}"
        title = f"{config.task.name.partition(':')[0]}: {parts}"
        known = checksum((config_sha256(config) + experiment.data_sha256).encode())
        with self._errors_in_words():
            self.start(title, known, settings_of(config), rounds_done)

    def on_round(self, row: Mapping[str, Any]) -> None:
        """See `Callback`."""
        with self._errors_in_words():
            self.log(numbers_of(row), row["round"])

    def on_summary(self, summary: Mapping[str, Any]) -> None:
        """See `Callback`."""
        with self._errors_in_words():
            self.finish(results_of(summary))
        self.is_complete = True

    def close(self) -> None:
        """See `Callback`."""
        with self._errors_in_words():
            self.stop()

    @contextmanager
    def _errors_in_words(self) -> Iterator[None]:
        try:
            yield
        except FedbbptError:
            raise
        except Exception as e:
            said = str(e).replace(self.target.rstrip("/"), redact_url(self.target).rstrip("/"))
            raise RunError(
                f"the callback {self.name} cannot log ({type(e).__name__}: {excerpt(said)}); nothing of the run is "
                "lost: mend that and continue with --resume, or resume without the callback"
            ) from e


def settings_of(config: Config) -> dict[str, Any]:
    """Names of components, and all numbers of a config; other texts may be paths or addresses, and stay here.

    >>> from fedbbpt.config import make_config
    >>> settings = settings_of(make_config({"rounds": 2}))
    >>> settings["rounds"], settings["prompt"], settings["data.shots_per_class"]
    (2, 'affine', 16)
    """
    values = config.to_settings()
    found: dict[str, Any] = {name: values[name]["name"].partition(":")[0] for name in COMPONENTS}
    for key, value in values.items():
        parts = {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
        found |= {name: one for name, one in parts.items() if isinstance(one, bool | int | float)}
    return found


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row of the metrics, by name; of the test row, the scores alone.

    >>> numbers_of({"round": 1, "subset": "validation", "accuracy": 0.5, "loss": None, "train_loss": 0.7, "queries": 9})
    {'validation/accuracy': 0.5, 'train/loss': 0.7, 'cost/queries': 9}
    """
    named = {f"{row['subset']}/{key}": row[key] for key in SCORES}
    if row["subset"] != "test":
        named["train/loss"] = row["train_loss"]
        known = {"round", "subset", "is_best", "train_loss", "consensus_distance", *SCORES}
        named |= {f"cost/{key}": value for key, value in row.items() if key not in known}
        named |= {f"billed/{key}": value for key, value in row.get("billed", {}).items()}
        named["nodes/consensus_distance"] = row.get("consensus_distance")
    return finite(named)


def results_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a summary, with the pairs of the run and its baselines; nothing of single clients."""
    pairs = {
        f"{name}_{key}": count for name, paired in summary["paired"].items() for key, count in (paired or {}).items()
    }
    return finite({**summary, **pairs})


def finite(named: Mapping[str, Any]) -> dict[str, float]:
    """Those values that are finite numbers."""
    numbers = {key: value for key, value in named.items() if isinstance(value, int | float) and type(value) is not bool}
    return {key: value for key, value in numbers.items() if math.isfinite(value)}

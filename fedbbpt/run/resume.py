"""Checks that a resumed run has the same config and data."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from fedbbpt.algorithms import Algorithm
from fedbbpt.config import Config, make_config
from fedbbpt.config.components import load_class
from fedbbpt.config.schema import ComponentConfig
from fedbbpt.errors import ConfigError, RunError, UnknownName
from fedbbpt.run.atomic_files import checksum, write_atomic
from fedbbpt.run.environment import Environment, read_environment
from fedbbpt.run.experiment import Experiment
from fedbbpt.run.lock import folder_lock
from fedbbpt.run.settings import load_run_settings
from fedbbpt.text_files import absolute_path


class Fingerprints(Protocol):
    """The fingerprints in a record of a run."""

    @property
    def config_sha256(self) -> str:
        """See `config_sha256`."""

    @property
    def data_sha256(self) -> str:
        """See `Experiment.data_sha256`."""


def config_sha256(config: Config) -> str:
    """The fingerprint of a config, without addresses such as the URL of a body's server, which may change."""
    algorithm, addresses = config.algorithm, _addresses(config)
    stays = ComponentConfig(
        name=algorithm.name, options={k: v for k, v in algorithm.options.items() if k not in addresses}
    )
    return checksum(config.model_copy(update={"algorithm": stays}).to_toml().encode())


def read_run(out: Path) -> tuple[Config, Environment]:
    """Reads the config and the environment record of the run in a folder.

    Raises:
        RunError: no run there, or its config has changed.
    """
    settings = load_run_settings(out)
    try:
        config = make_config(settings)
    except (ConfigError, UnknownName) as e:
        raise RunError(f"{out / 'config.toml'} cannot be used as it is: {e}") from e
    environment = read_environment(out)
    check_config_unchanged(config, environment, out)
    return config, environment


def check_config_unchanged(config: Config, record: Fingerprints, out: Path) -> None:
    """Raises RunError if the config is not the one that the record belongs to."""
    if record.config_sha256 != config_sha256(config):
        raise RunError(f"{out / 'config.toml'} has changed since the run began; undo that, or start a new run")


def check_unchanged(experiment: Experiment, record: Fingerprints, out: Path) -> None:
    """Raises RunError if config or data are not those that the record belongs to."""
    check_config_unchanged(experiment.config, record, out)
    if record.data_sha256 != experiment.data_sha256:
        raise RunError(f"the data of {out} have changed since the run began; restore them, or start a new run")


def check_classes_unchanged(experiment: Experiment, environment: Environment, out: Path) -> None:
    """Raises RunError if the task's classes, or their order, differ from those of the run."""
    if (ours := environment.task.classes) != (found := list(experiment.task.classes)):
        other = next((name for name in [*found, *ours] if (name in found) != (name in ours)), found[0])
        raise RunError(
            f"the data have other classes than those of {out}, among them {other!r}; restore them, or start a new run"
        )


def check_settings_unchanged(ours: Config, asked: Config) -> None:
    """Raises RunError for the first setting that differs, unless it is an address that has changed."""
    others = dict(_flat_settings(asked))
    for key, value in _flat_settings(ours):
        other = others.get(key)
        if other != value and (key not in {f"algorithm.{name}" for name in _addresses(ours)} or None in (value, other)):
            raise setting_changed_error(key, value, other)


def with_known_task_path(asked: Config, ours: Config) -> Config:
    """Replaces the task's path by the run's own spelling of it if both name the same file or folder."""
    kind, _, argument = asked.task.name.partition(":")
    with suppress(ValueError):  # no place at all
        if argument and f"{kind}:{absolute_path(argument)}" == ours.task.name:
            return asked.model_copy(update={"task": ComponentConfig(name=ours.task.name, options=asked.task.options)})
    return asked


def update_addresses(out: Path, asked: Config) -> None:
    """Stores changed addresses in the config of a run; all else must be the same.

    Raises:
        RunError: no run there, or its config has changed, or the other config differs in more than addresses, or
            another process works on the run.
    """
    ours, _ = read_run(out)
    check_settings_unchanged(ours, asked)
    if ours != asked:
        with folder_lock(out):
            write_atomic(out / "config.toml", asked.to_toml().encode())


def setting_changed_error(key: str, ours: Any, other: Any) -> RunError:
    """The error for an attempt to resume a run with another setting."""
    return RunError(f"a resumed run keeps its settings: {key} is {ours}, not {other}; start a new run for that")


def _addresses(config: Config) -> tuple[str, ...]:
    """The options that the algorithm declares to be addresses."""
    algorithm: type[Algorithm] = load_class("algorithms", config.algorithm.name)
    return algorithm.addresses


def _flat_settings(config: Config) -> Iterator[tuple[str, Any]]:
    """All settings by their full names, as -o takes them."""
    for key, value in config.to_settings().items():
        if isinstance(value, dict):
            yield from ((f"{key}.{option}", inner) for option, inner in value.items())
        else:
            yield key, value

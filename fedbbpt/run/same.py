"""What a run that goes on has to have in common with the one that began, and what may change."""

import hashlib
from pathlib import Path
from typing import Any

from fedbbpt.errors import RunError
from fedbbpt.run.checkpoint import Progress
from fedbbpt.run.config import SERVER, Choice, Config, make_config, of_run, override
from fedbbpt.run.files import write_atomic
from fedbbpt.run.session import Session


def config_sha256(config: Config) -> str:
    """Of all but the server's address: what body it has is checked wherever it is."""
    algorithm = config.algorithm
    stays = Choice(name=algorithm.name, options={k: v for k, v in algorithm.options.items() if k != "server"})
    return hashlib.sha256(config.model_copy(update={"algorithm": stays}).to_toml().encode()).hexdigest()


def check_unchanged(session: Session, progress: Progress, out: Path) -> None:
    """Raises RunError if a checkpoint belongs to another config or other data."""
    if progress.config_sha256 != config_sha256(session.config):
        raise RunError(f"{out / 'config.toml'} has changed since the run began; undo that, or start a new run")
    if progress.data_sha256 != session.data_sha256:
        raise RunError(f"the data of {out} have changed since the run began; restore them, or start a new run")


def move(out: Path, server: Any) -> None:
    """Lets the run in the folder go on with its body at another URL, which is asked first whether it is the same body.

    Raises:
        RunError: no run there.
        ConfigError: it is no URL.
    """
    values = of_run(out)
    if "server" in values["algorithm"]:
        override(values, SERVER, server)
        write_atomic(out / "config.toml", make_config(values).to_toml().encode())


def settled(key: str, ours: Any, other: Any) -> RunError:
    """What is said to whoever wants to resume a run with another setting."""
    return RunError(f"a resumed run keeps its settings: {key} is {ours}, not {other}; start a new run for that")

"""Logs a run to Weights & Biases."""

import os
from collections.abc import Mapping
from typing import Any

from fedbbpt.callbacks.logger import Logger
from fedbbpt.errors import MissingExtra


class WandB(Logger):
    """Logs to a project of Weights & Biases: `wandb:PROJECT`.

    It stays offline, in the folder `wandb`, unless the environment variable WANDB_MODE says otherwise; `wandb sync`
    sends it later. The pieces of a resumed run are one group.
    """

    name = "wandb"

    def __init__(self, target: str, /) -> None:
        super().__init__(target)
        try:
            import wandb
        except ImportError as e:
            raise MissingExtra("the callback wandb", "wandb", e) from e
        self._wandb: Any = wandb
        self._run: Any = None

    def start(self, title: str, fingerprint: str, settings: Mapping[str, Any], rounds_done: int) -> None:
        """See `Logger`; neither code, git, the console nor the machine is logged."""
        quiet = self._wandb.Settings(
            console="off", disable_code=True, disable_git=True, silent=True, x_disable_meta=True, x_disable_stats=True
        )
        self._run = self._wandb.init(
            project=self.target,
            name=title,
            group=fingerprint[:16],
            config={**settings, "rounds_done": rounds_done},
            mode=os.environ.get("WANDB_MODE") or "offline",
            settings=quiet,
        )

    def log(self, numbers: Mapping[str, float], round_: int) -> None:
        """See `Logger`."""
        self._run.log({**numbers, "round": round_})

    def finish(self, results: Mapping[str, float]) -> None:
        """See `Logger`."""
        self._run.summary.update(dict(results))

    def stop(self) -> None:
        """See `Logger`."""
        if self._run is not None:
            self._run.finish(exit_code=0 if self.is_complete else 1)

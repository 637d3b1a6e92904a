"""Logs a run to a folder that TensorBoard shows."""

from collections.abc import Mapping
from typing import Any

from fedbbpt.callbacks.logger import Logger
from fedbbpt.errors import MissingExtra


class TensorBoard(Logger):
    """Logs to a folder for TensorBoard: `tensorboard:DIR`; look at it with `tensorboard --logdir DIR`.

    A resumed run adds to the same folder.
    """

    name = "tensorboard"

    def __init__(self, target: str, /) -> None:
        super().__init__(target)
        try:
            from tensorboardX import SummaryWriter
        except ImportError as e:
            raise MissingExtra("the callback tensorboard", "tensorboard", e) from e
        self._open = SummaryWriter
        self._writer: Any = None

    def start(self, title: str, fingerprint: str, settings: Mapping[str, Any], rounds_done: int) -> None:
        """See `Logger`."""
        # Names of files differ by the second alone, which a stopped run and the resumed one may share.
        self._writer = self._open(self.target, filename_suffix=f".{fingerprint[:8]}-{rounds_done}")
        rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
        self._writer.add_text("settings", f"{title}\n\n| setting | value |\n|---|---|\n{rows}", rounds_done)

    def log(self, numbers: Mapping[str, float], round_: int) -> None:
        """See `Logger`; it is on disk when the round ends."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, round_)
        self._writer.flush()

    def finish(self, results: Mapping[str, float]) -> None:
        """See `Logger`."""
        self.log({f"summary/{name}": number for name, number in results.items()}, int(results["rounds"]))

    def stop(self) -> None:
        """See `Logger`."""
        if self._writer is not None:
            self._writer.close()

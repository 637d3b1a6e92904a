"""What a site keeps of a run: its backend, its queries, what its client remembers after each round, and the result."""

import re
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel
from safetensors import SafetensorError

from fedbbpt.config.schema import ComponentConfig
from fedbbpt.errors import FederationError
from fedbbpt.federation.run_files import unpack_files
from fedbbpt.run.atomic_files import reading, write_atomic, writing
from fedbbpt.run.lock import exclusive_lock
from fedbbpt.run.records import read_record, to_record

LOCK_TIMEOUT = 30.0  # seconds
RETAINED = 3  # rounds: the server's last two checkpoints, and the one that it writes next
RUN = re.compile(r"[0-9a-f]{32}")
Arrays = dict[str, NDArray[Any]]


class OpenedBackend(BaseModel):
    """A backend as the site chooses it, and with what "auto" meant when it was opened for a run."""

    chosen: ComponentConfig
    opened: ComponentConfig


@dataclass(frozen=True)
class SiteRun:
    """The folder of one run in a site's kit."""

    folder: Path

    @classmethod
    def of(cls, kit: Path, run: str) -> "SiteRun":
        """The folder of a run, which is made if need be.

        Raises:
            FederationError: that is not how runs are named.
        """
        if not RUN.fullmatch(run):
            raise FederationError("the server names no run")
        folder = kit / "runs" / run
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return cls(folder)

    def held(self) -> AbstractContextManager[None]:
        """Lets one process at a time work on the run: that of a job that has failed may still be at it.

        Raises:
            FederationError: another one still does.
        """
        busy = FederationError("an earlier job still works on this run here")
        return exclusive_lock(self.folder / ".lock", busy, LOCK_TIMEOUT)

    @property
    def queries(self) -> int:
        """The queries that the site has answered in this run, in all jobs together."""
        path = self.folder / "queries"
        if not path.exists():
            return 0
        with reading(path):
            return int(path.read_text() or 0)

    def add_queries(self, queries: int) -> None:
        """Notes that the site has answered more queries."""
        if queries:
            write_atomic(self.folder / "queries", str(self.queries + queries).encode())

    def resolved(self, chosen: ComponentConfig) -> ComponentConfig:
        """The site's backend as it was opened for this run before: the whole run has one model on one device."""
        path = self.folder / "backend.json"
        record = read_record(path, OpenedBackend) if path.exists() else None
        return record.opened if record is not None and record.chosen == chosen else chosen

    def keep_backend(self, chosen: ComponentConfig, opened: ComponentConfig) -> None:
        """Keeps for `resolved` how the site's backend was opened."""
        record = OpenedBackend(chosen=chosen, opened=opened)
        write_atomic(self.folder / "backend.json", to_record(record.model_dump()))

    def save(self, round_: int, arrays: Arrays) -> None:
        """Writes what the client remembers after a round, and removes what is older than three rounds."""
        write_atomic(self._path(round_), safetensors.numpy.save(arrays))
        for path in sorted(self.folder.glob("round-*.safetensors"))[:-RETAINED]:
            with writing(path):
                path.unlink(missing_ok=True)

    def load(self, round_: int, *, or_earlier: bool = False) -> Arrays | None:
        """What the client remembered after a round, or after the last one before that; None if there is nothing whole.

        Rounds after it are removed, since the server does not know them.
        """
        path, known = self._path(round_), sorted(self.folder.glob("round-*.safetensors"), reverse=True)
        for later in known:
            if later.name > path.name:
                with writing(later):
                    later.unlink(missing_ok=True)
        for one in known:
            if one.name == path.name or (or_earlier and one.name < path.name):
                with reading(one):
                    content = one.read_bytes()
                with suppress(SafetensorError):
                    return safetensors.numpy.load(content)
        return None

    def keep_result(self, content: bytes) -> None:
        """Keeps the files of the finished run.

        Raises:
            ValueError: they are no such files.
        """
        for name, file in unpack_files(content).items():
            path = self.folder / "result" / name
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, file)

    def _path(self, round_: int) -> Path:
        return self.folder / f"round-{round_:06d}.safetensors"

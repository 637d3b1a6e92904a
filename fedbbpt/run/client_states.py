"""What the clients of a simulation remember, on disk: `clients/ID/round-000012.safetensors`, committed with the round.

A checkpoint names the file of each client, with its checksum. A client whose memory has not changed since keeps its
file. In a federation this folder does not exist: each client's memory stays at its own site.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors.numpy
from pydantic import BaseModel

from fedbbpt.engines import Memories
from fedbbpt.run.atomic_files import checksum, reading, write_atomic, writing


class ClientFile(BaseModel):
    """One client's memory as of a checkpoint."""

    file: str  # inside the client's folder
    sha256: str


ClientFiles = Mapping[str, ClientFile]  # by client; those that remember nothing are not there


class ClientStates:
    """The clients' memories, and which version of each is on disk."""

    def __init__(self, folder: Path, memories: Memories) -> None:
        self.memories, self._folder = memories, folder
        self._saved: dict[str, tuple[int, ClientFile]] = {}

    def save(self, round_: int) -> dict[str, ClientFile]:
        """Writes the memories that have changed since the last time; returns what a checkpoint has to note."""
        for client, memory in self.memories.items():
            version, _ = self._saved.get(client, (-1, None))
            if version != memory.version and (arrays := memory.durable):
                content = safetensors.numpy.save(arrays)
                path = self._folder / client / f"round-{round_:06d}.safetensors"
                with writing(path.parent):
                    path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, content)
                self._saved[client] = memory.version, ClientFile(file=path.name, sha256=checksum(content))
        return {client: file for client, (_, file) in self._saved.items()}

    def load(self, files: ClientFiles) -> None:
        """Puts what was written into the memories.

        Raises:
            RunError: a file cannot be read.
        """
        for client, one in files.items():
            path = self._folder / client / one.file
            with reading(path):
                content = path.read_bytes()
            memory = self.memories[client]
            memory.arrays, memory.version = safetensors.numpy.load(content), memory.version + 1
            self._saved[client] = memory.version, one


def is_whole(folder: Path, files: ClientFiles) -> bool:
    """Whether all files are there as they were written."""
    try:
        return all(checksum((folder / c / one.file).read_bytes()) == one.sha256 for c, one in files.items())
    except OSError:
        return False


def tidy(folder: Path, kept: Iterable[ClientFiles]) -> None:
    """Removes the files that none of the kept checkpoints names."""
    named = {(client, one.file) for files in kept for client, one in files.items()}
    for path in [*folder.glob("*/*"), *folder.glob("*/.*.tmp")]:
        if (path.parent.name, path.name) not in named:
            with writing(path):
                path.unlink(missing_ok=True)

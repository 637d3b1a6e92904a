"""Saves the memories of a simulation's clients: `clients/ID/round-000012.safetensors`, committed with the round.

A checkpoint names each client's file and its checksum. A client's file is not written again if its memory has not
changed. In a real federation this folder does not exist: each client's memory stays at its own site.
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


ClientFiles = Mapping[str, ClientFile]  # by client, without clients whose memory is empty


class ClientStates:
    """The clients' memories, and the file that each is saved in."""

    def __init__(self, folder: Path, memories: Memories) -> None:
        self.memories, self._folder = memories, folder
        self._files: dict[str, ClientFile] = {}

    def save(self, round_: int) -> dict[str, ClientFile]:
        """Writes the memories that have changed; returns the files of all clients, for the checkpoint."""
        for client, memory in self.memories.items():
            content = safetensors.numpy.save(arrays) if (arrays := memory.durable) else b""
            file = ClientFile(file=f"round-{round_:06d}.safetensors", sha256=checksum(content))
            if content and (client not in self._files or self._files[client].sha256 != file.sha256):
                path = self._folder / client / file.file
                with writing(path.parent):
                    path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, content)
                self._files[client] = file
        return dict(self._files)

    def load(self, files: ClientFiles) -> None:
        """Loads files into the memories.

        Raises:
            RunError: a file cannot be read.
        """
        for client, one in files.items():
            path = self._folder / client / one.file
            with reading(path):
                content = path.read_bytes()
            self.memories[client].replace(safetensors.numpy.load(content))
            self._files[client] = one


def is_whole(folder: Path, files: ClientFiles) -> bool:
    """Whether all files exist and match their checksums."""
    try:
        return all(checksum((folder / c / one.file).read_bytes()) == one.sha256 for c, one in files.items())
    except OSError:
        return False


def tidy(folder: Path, checkpoints: Iterable[ClientFiles]) -> None:
    """Removes the files that no checkpoint names."""
    named = {(client, one.file) for files in checkpoints for client, one in files.items()}
    for path in [*folder.glob("*/*"), *folder.glob("*/.*.tmp")]:
        if (path.parent.name, path.name) not in named:
            with writing(path):
                path.unlink(missing_ok=True)

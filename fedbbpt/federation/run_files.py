"""The files of a finished run that its sites may have: what `fedbbpt predict` needs, and the report."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedbbpt.run.atomic_files import reading
from fedbbpt.types import wire

NAMES = re.compile(
    r"config\.toml|environment\.json|summary\.json|metrics\.jsonl|report\.html|checkpoints/round-\d{6,}\.(?:json|safetensors)"
)


def pack_files(run: Path) -> bytes:
    """The files of a finished run, as safetensors."""
    names = [path.relative_to(run).as_posix() for path in [*run.iterdir(), *(run / "checkpoints").iterdir()]]
    return pack({name: _read(run / name) for name in sorted(names) if NAMES.fullmatch(name)})


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files by name as safetensors."""
    return wire.packed({name: np.frombuffer(content, np.uint8) for name, content in files.items()})


def unpack_files(data: bytes) -> dict[str, bytes]:
    """Inverse of `pack`.

    Raises:
        ValueError: the bytes are no files of a run.
    """
    arrays, scalars = wire.unpacked(data)
    wire.keyed(scalars)
    for name, array in arrays.items():
        if not NAMES.fullmatch(name):
            raise ValueError("a file has another name than those of a run")
        wire.typed(array, name, 1, np.uint8)
    return {name: array.tobytes() for name, array in arrays.items()}


def _read(path: Path) -> bytes:
    with reading(path):
        return path.read_bytes()

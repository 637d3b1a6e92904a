"""Which test examples a finished simulation has right, one by one: `clients/tested.safetensors`.

Only runs whose clients are on this machine have the file. With it, two runs are compared on the same examples.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from fedbbpt.algorithms.pairs import RIGHT
from fedbbpt.engines import Memories
from fedbbpt.run.atomic_files import write_atomic, writing
from fedbbpt.run.environment import TESTED, read_verified
from fedbbpt.run.evaluate import Paired
from fedbbpt.types import Client


class ScoredExamples(NamedTuple):
    """The test examples of all clients, and which of them are right."""

    examples: NDArray[np.uint64]  # (N,): the first bytes of the SHA-256 of each example, with its label
    right: NDArray[np.bool_]  # (N,)

    def beside(self, other: "ScoredExamples") -> Paired | None:
        """How this result differs from another one; None where the test examples are not the same.

        The order of the examples, and who holds them, may differ.
        """
        ours, theirs = (np.argsort(one.examples, kind="stable") for one in (self, other))
        if not np.array_equal(self.examples[ours], other.examples[theirs]):
            return None
        here, there = self.right[ours], other.right[theirs]
        return Paired(len(here), int((here & ~there).sum()), int((there & ~here).sum()))


def tested_bytes(clients: Sequence[Client], memories: Memories, score: str) -> bytes:
    """What the clients remember of a score on their test data, as safetensors; empty if one of them remembers none."""
    known = [memories[client.id].part(RIGHT).get(score) for client in clients]
    found = [right for right in known if right is not None]
    if not found or len(found) < len(clients):
        return b""
    examples = np.concatenate([_fingerprints(client) for client in clients])
    return safetensors.numpy.save(ScoredExamples(examples, np.concatenate(found))._asdict())


def keep_tested(out: Path, content: bytes) -> None:
    """Writes the file, unless there is nothing to keep.

    Raises:
        RunError: it cannot be written.
    """
    if content:
        with writing(out):
            (out / TESTED).parent.mkdir(exist_ok=True)
        write_atomic(out / TESTED, content)


def read_tested(out: Path, files: Mapping[str, str]) -> ScoredExamples | None:
    """Reads the file of a finished run, whose environment names the `files`; None where it is not there any more.

    Raises:
        RunError: it is damaged.
    """
    if TESTED not in files or not (out / TESTED).exists():
        return None
    return ScoredExamples(**safetensors.numpy.load(read_verified(out, files, TESTED)))


def _fingerprints(client: Client) -> NDArray[np.uint64]:
    pairs = zip(client.test.contents(), client.test.labels.tolist(), strict=True)
    digests = [hashlib.sha256(content + b"%d" % label).digest()[:8] for content, label in pairs]
    return np.frombuffer(b"".join(digests), np.uint64)

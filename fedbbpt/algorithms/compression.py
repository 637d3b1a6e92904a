"""Letters that say only the most of what has changed: compressors, by name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedbbpt.errors import ConfigError, UnknownName
from fedbbpt.types import Float32, Parameters

NAMES = ("none", "top-k", "int8")
LARGEST = np.float32(127)  # of int8
Arrays = Mapping[str, NDArray[Any]]


class Compressor(Protocol):
    """A map C from a vector v (d,), float32, to fewer bytes, with ‖C(v) − v‖² ≤ (1 − δ) ‖v‖² for some δ > 0.

    Koloskova, Stich & Jaggi 2019, ICML, arXiv 1902.00340, assumption 1. C(v) has the same bits wherever it is unpacked.

    Attributes:
        consensus_step: γ of their algorithm 1.
    """

    consensus_step: float

    def pack(self, vector: Float32) -> Arrays:
        """C(v), as arrays of which numbers alone are signed or floats, and places are unsigned, in ascending order."""

    def unpack(self, arrays: Arrays, size: int) -> Float32:
        """C(v) as a vector of this size, from its arrays."""

    def form(self, size: int) -> Arrays:
        """C of no change of this size: the shape and dtype of each array, and the highest that each place can be."""


@dataclass(frozen=True)
class TopK(Compressor):
    """The share of the numbers that are largest in magnitude, at least one: δ = share (Stich et al. 2018, lemma A.1).

    >>> arrays = TopK(0.5, 0.5).pack(np.array([1, -3, 0, 2], np.float32))
    >>> {name: array.tolist() for name, array in arrays.items()}
    {'places': [1, 3], 'values': [-3.0, 2.0]}
    """

    share: float
    consensus_step: float

    def pack(self, vector: Float32) -> Arrays:
        """See `Compressor`; of numbers of one magnitude, the first are taken."""
        largest = np.argsort(-np.abs(vector), kind="stable")[: self._count(vector.size)]
        places = np.sort(largest).astype(np.uint32)
        return {"places": places, "values": vector[places]}

    def unpack(self, arrays: Arrays, size: int) -> Float32:
        """See `Compressor`."""
        vector = np.zeros(size, np.float32)
        vector[arrays["places"]] = arrays["values"]
        return vector

    def form(self, size: int) -> Arrays:
        """See `Compressor`."""
        count = self._count(size)
        return {"places": np.arange(size - count, size, dtype=np.uint32), "values": np.zeros(count, np.float32)}

    def _count(self, size: int) -> int:
        return max(1, math.ceil(round(self.share * size, 6)))  # without the computer's rounding errors


@dataclass(frozen=True)
class Int8(Compressor):
    """All numbers in units of the largest magnitude over 127, rounded to the nearest.

    No number becomes worse than by leaving it out, and the largest is exact, so that δ ≥ 1 / d.

    >>> arrays = Int8(1.0).pack(np.array([254, -100, 0.5], np.float32))
    >>> arrays["steps"].tolist(), arrays["largest"].tolist()
    ([127, -50, 0], [254.0])
    """

    consensus_step: float

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite, receivers refuse
    def pack(self, vector: Float32) -> Arrays:
        """See `Compressor`."""
        largest = np.abs(vector).max(keepdims=True)
        step = largest / LARGEST
        steps = np.rint(vector / np.where(step > 0, step, np.float32(1))).clip(-LARGEST, LARGEST)
        return {"steps": np.nan_to_num(steps).astype(np.int8), "largest": largest}

    def unpack(self, arrays: Arrays, size: int) -> Float32:
        """See `Compressor`."""
        vector: Float32 = arrays["steps"].astype(np.float32)
        vector *= arrays["largest"] / LARGEST
        return vector

    def form(self, size: int) -> Arrays:
        """See `Compressor`."""
        return {"steps": np.zeros(size, np.int8), "largest": np.zeros(1, np.float32)}


def make_compressor(name: str, consensus_step: float | None = None) -> Compressor | None:
    """A compressor by name: `none` is None; `top-k:SHARE`; `int8`.

    Unset, the consensus step γ is the share with `top-k`, and 1 with `int8`. Both brought nodes together wherever that
    was tried: on static graphs of all kinds with 2 to 64 nodes, and with shares from .01 to .7. Three times the share
    drove them apart on some. The γ of CHOCO-Gossip's theorem 2 is smaller by orders of magnitude.

    Raises:
        ConfigError: there is none of this name, or the share is none, or nothing is compressed with this γ.
    """
    kind, _, share = name.partition(":")
    if kind not in NAMES:
        raise UnknownName("compression", kind, [*NAMES])
    if kind == "top-k":
        kept = _share(name, share)
        return TopK(kept, consensus_step or kept)
    if share:
        raise ConfigError(f"compression {name!r} says too much: write {kind} alone")
    if kind == "int8":
        return Int8(consensus_step or 1.0)
    if consensus_step is not None:
        raise ConfigError("algorithm.consensus_step is for compressed letters: set algorithm.compression, too")
    return None


def compress(parts: Parameters, compressor: Compressor) -> dict[str, NDArray[Any]]:
    """A letter: the arrays of all parts (d,) that are not empty, by PART.NAME."""
    return _by_name({part: compressor.pack(vector) for part, vector in parts.items() if vector.size})


def expand(letter: Arrays, compressor: Compressor, like: Parameters) -> dict[str, Float32]:
    """What a letter says, for parts of the same sizes as these; `letter_problem` has checked its form."""
    found: dict[str, Float32] = {}
    for part, vector in like.items():
        start = f"{part}."
        arrays = {name.removeprefix(start): array for name, array in letter.items() if name.startswith(start)}
        found[part] = compressor.unpack(arrays, vector.size) if arrays else vector
    return found


def form(parts: Parameters, compressor: Compressor) -> dict[str, NDArray[Any]]:
    """The form of letters about parts of these sizes; see `Compressor.form`."""
    return _by_name({part: compressor.form(vector.size) for part, vector in parts.items() if vector.size})


def _by_name(found: Mapping[str, Arrays]) -> dict[str, NDArray[Any]]:
    return {f"{part}.{name}": array for part, arrays in found.items() for name, array in arrays.items()}


def _share(name: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ConfigError(f"compression {name!r} does not say which share of the numbers is sent: write top-k:0.1")
    return share

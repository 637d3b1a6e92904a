"""What a client's half of an algorithm works with: its own data, its own way to the model, and what it remembers."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import Meter
from fedbbpt.objective import Objective
from fedbbpt.types import Client, Dataset, Float32, Subset, Usage

Array = NDArray[Any]
# Parts of a memory: what lasts for a round, and the answers to inputs as they are. All others are algorithms' own.
SCRATCH, UNPROMPTED = "scratch", "unprompted"


class ClientMemory:
    """All that one client remembers, as arrays by part and name. It never travels to the server.

    Every change makes a new `version`, so that whoever keeps a copy knows when it is outdated.

    >>> memory = ClientMemory()
    >>> memory.part("algorithm")["round"] = np.array([3])
    >>> sorted(memory.arrays), memory.version
    (['algorithm/round'], 1)
    """

    def __init__(self, arrays: Mapping[str, Array] | None = None, version: int = 0) -> None:
        self.arrays: dict[str, Array] = dict(arrays or {})  # part/name -> array
        self.version = version

    def part(self, name: str) -> MutableMapping[str, Array]:
        """A view on one part, by the names inside it."""
        return _Part(self, f"{name}/")

    @property
    def durable(self) -> dict[str, Array]:
        """All arrays that have to outlive the round; answers with gaps do not, so that a resumed run asks again."""

        def lasts(name: str) -> bool:
            part = name.partition("/")[0]
            return part != SCRATCH and not (part == UNPROMPTED and np.isnan(self.arrays[name]).any())

        return {name: array for name, array in self.arrays.items() if lasts(name)}


class _Part(MutableMapping[str, Array]):
    def __init__(self, memory: ClientMemory, prefix: str) -> None:
        self._memory, self._prefix = memory, prefix

    def __getitem__(self, name: str) -> Array:
        return self._memory.arrays[self._prefix + name]

    def __setitem__(self, name: str, array: Array) -> None:
        self._memory.arrays[self._prefix + name] = np.asarray(array)
        self._memory.version += 1

    def __delitem__(self, name: str) -> None:
        del self._memory.arrays[self._prefix + name]
        self._memory.version += 1

    def __iter__(self) -> Iterator[str]:
        start = len(self._prefix)
        return iter([name[start:] for name in self._memory.arrays if name.startswith(self._prefix)])

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class ClientContext:
    """Everything that a handler may use beside the message. It lives where the client's data live.

    Attributes:
        data: the client's training, validation and test data.
        objective: the client's own way to the model.
        memory: what the client remembers, by part.
        part: under which name this algorithm's own state stands in the memory.
        shared: results of pure functions that several clients of one process would all compute; may be empty any time.
    """

    data: Client
    objective: Objective
    memory: ClientMemory = field(default_factory=ClientMemory)
    part: str = "algorithm"
    shared: MutableMapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The client's name."""
        return self.data.id

    @property
    def state(self) -> MutableMapping[str, Array]:
        """What the client remembers from round to round: durable, never in a message, never at the server."""
        return self.memory.part(self.part)

    @property
    def scratch(self) -> MutableMapping[str, Array]:
        """What the client remembers until the round ends; lost with the process."""
        return self.memory.part(f"{SCRATCH}/{self.part}")

    def metered(self) -> tuple[Objective, Meter]:
        """The objective over a meter of its own, so that clients may run side by side."""
        meter = Meter(self.objective.backend)
        return self.objective.on(meter), meter

    def subset(self, name: Subset) -> Dataset:
        """One of the three parts of the client's data."""
        return {"train": self.data.train, "validation": self.data.validation, "test": self.data.test}[name]

    def unprompted_scores(self, name: Subset) -> tuple[Float32, Usage]:
        """Scores (N, 1, C) of a subset's inputs as they are, without a prompt, and what they cost now.

        Each input is asked about once, whatever the number of rounds: the answers are remembered.
        """
        known, cost = self.memory.part(UNPROMPTED), Usage()
        wanted = {name: self.subset(name)} | ({"probes": self.objective.probe_data} if self.objective.probes else {})
        for key, data in wanted.items():
            if key not in known:
                objective, meter = self.metered()
                known[key] = objective.unprompted_scores(data)
                cost += meter.usage
        scores = known[name][None, :, None]  # (1, N, 1, C), as `calibrated` reads them
        if self.objective.probes:
            scores = self.objective.calibrated(scores, known["probes"][None, :, None])
        return scores[0], cost

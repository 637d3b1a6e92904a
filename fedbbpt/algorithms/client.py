"""The client's half of an algorithm: its data, its access to the model, and its memory."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbbpt.backend import Meter, OnQueries
from fedbbpt.objective import Objective
from fedbbpt.types import Client, Dataset, Float32, Floats, Subset, Usage

Array = NDArray[Any]
# Parts of a memory: arrays that last for one round, and scores without a prompt. All other parts belong to algorithms.
SCRATCH, UNPROMPTED = "scratch", "unprompted"
LETTERS = f"{SCRATCH}/letters"  # SENDER/NAME -> array


class ClientMemory:
    """Everything that a client remembers, as arrays by part and name. It is never sent to the server.

    Every change increments `version`, so that the holder of a copy can tell whether it is outdated.

    >>> memory = ClientMemory()
    >>> memory.part("algorithm")["round"] = np.array([3])
    >>> sorted(memory.arrays), memory.version
    (['algorithm/round'], 1)
    """

    def __init__(self, arrays: Mapping[str, Array] | None = None, version: int = 0) -> None:
        self.arrays: dict[str, Array] = dict(arrays or {})  # part/name -> array
        self.version = version

    def replace(self, arrays: Mapping[str, Array]) -> None:
        """Forgets everything, and remembers these arrays instead."""
        self.arrays, self.version = dict(arrays), self.version + 1

    def part(self, name: str) -> MutableMapping[str, Array]:
        """A mutable view of one part; its keys are the names inside the part."""
        return _Part(self, f"{name}/")

    def take_letters(self, letters: Mapping[str, Mapping[str, Array]]) -> None:
        """Remembers what neighbours have written, by sender and name, in place of all earlier letters."""
        part = self.part(LETTERS)
        part.clear()
        part.update({f"{sender}/{name}": array for sender, one in letters.items() for name, array in one.items()})

    @property
    def durable(self) -> dict[str, Array]:
        """The arrays that outlive the round; not scores with NaN, so that a resumed run queries those inputs again."""

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
    """Everything that a handler may use besides the message. It never leaves the client.

    Attributes:
        data: the client's training, validation and test data.
        objective: the client's access to the model, with the prompt and the readout.
        memory: what the client remembers, by part.
        part: the part of the memory that holds this algorithm's state.
        shared: a cache of pure functions' results, shared by the clients of one process; it may be emptied at any time.
        on_queries: called with the number of queries of each request, once it is answered.
    """

    data: Client
    objective: Objective
    memory: ClientMemory = field(default_factory=ClientMemory)
    part: str = "algorithm"
    shared: MutableMapping[str, Any] = field(default_factory=dict)
    on_queries: OnQueries | None = None

    @property
    def id(self) -> str:
        """The client's name."""
        return self.data.id

    @property
    def state(self) -> MutableMapping[str, Array]:
        """Arrays kept from round to round: saved with the run, never sent to the server."""
        return self.memory.part(self.part)

    @property
    def scratch(self) -> MutableMapping[str, Array]:
        """Arrays kept until the end of the round, or of the process."""
        return self.memory.part(f"{SCRATCH}/{self.part}")

    @property
    def letters(self) -> Mapping[str, Mapping[str, Array]]:
        """What neighbours have written last, by sender and name."""
        found: dict[str, dict[str, Array]] = {}
        for key, array in self.memory.part(LETTERS).items():
            sender, _, name = key.rpartition("/")
            found.setdefault(sender, {})[name] = array
        return found

    def metered(self) -> tuple[Objective, Meter]:
        """The objective with a new meter, so that the queries of concurrent clients are counted apart."""
        meter = Meter(self.objective.backend, self.on_queries)
        return self.objective.on(meter), meter

    def training_scores(self, prompts: Floats) -> tuple[Float32, Usage]:
        """Scores (n, N, C) of all training inputs under single prompts (n, d), and the usage of this call."""
        objective, meter = self.metered()
        return objective.answers(prompts, self.data.train.batch(slice(None)))[:, :, 0], meter.usage

    def unprompted_scores(self, name: Subset) -> tuple[Float32, Usage]:
        """Scores (N, 1, C) of a subset's inputs without a prompt, and the usage of this call.

        Each input is queried once in a whole run: the scores are remembered.
        """
        known, cost = self.memory.part(UNPROMPTED), Usage()
        wanted: dict[str, Dataset] = {name: self.data.subset(name)}
        if self.objective.probes:
            wanted["probes"] = self.objective.probe_data
        for key, data in wanted.items():
            if key not in known:
                objective, meter = self.metered()
                known[key] = objective.unprompted_scores(data)
                cost += meter.usage
        scores = known[name][None, :, None]  # (1, N, 1, C), as `calibrated` reads them
        if self.objective.probes:
            scores = self.objective.calibrated(scores, known["probes"][None, :, None])
        return scores[0], cost

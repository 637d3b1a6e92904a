"""A box: a task, a prompt and clients, whose training loss a search lowers with so many queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.config import make_config
from fedbbpt.readouts import cross_entropy
from fedbbpt.run.simulation import Simulation, open_simulation
from fedbbpt.types import Dataset, Floats

Theta = NDArray[np.float64]
Path = Sequence[tuple[int, Theta]]  # θ, and the queries after which a search had it
ALPHA = 0.1  # Dirichlet, of the clients' classes


class Box(NamedTuple):
    """What is searched; written as task:prompt:clients."""

    task: str
    prompt: str
    clients: int

    @classmethod
    def parse(cls, text: str) -> "Box":
        """The box of a name, say digits:affine:10."""
        task, prompt, clients = text.split(":")
        return cls(task, prompt, int(clients))

    def __str__(self) -> str:
        return ":".join(map(str, self))

    def opened(self, seed: int, settings: Mapping[str, Any]) -> "OpenBox":
        """Loads data and model; `settings` are those of a run, of the backend, say, or of an optimizer."""
        data = {"clients": self.clients, "dirichlet_alpha": ALPHA}
        own = {"task": {"name": self.task}, "prompt": {"name": self.prompt}, "readout": {"name": "identity"}}
        return OpenBox(open_simulation(make_config({**settings, **own, "data": data, "seed": seed})))


@dataclass(frozen=True)
class OpenBox:
    """A box whose model answers; its losses are mean cross-entropies in nats."""

    simulation: Simulation

    @property
    def start(self) -> Theta:
        """θ before the first query (d,)."""
        return self.simulation.algorithm.init().parameters["prompt"].astype(np.float64)

    @property
    def shares(self) -> Sequence[Dataset]:
        """The training examples of each client."""
        return [client.train for client in self.simulation.clients]

    @cached_property
    def everything(self) -> Dataset:
        """The training examples of all clients."""
        inputs, labels = (np.concatenate([getattr(one, part) for one in self.shares]) for part in ("inputs", "labels"))
        features = [one.features for one in self.shares if one.features is not None]
        return Dataset(inputs, labels, np.concatenate(features) if features else None)

    def losses(self, theta: Floats, data: Dataset) -> NDArray[np.float64]:
        """The loss of each example (b,) under one θ; b queries."""
        objective, most = self.simulation.objective, self.simulation.backend.info.max_batch
        pieces = []
        for at in range(0, len(data), most):
            batch = data.batch(slice(at, at + most))
            scores = objective.answers(np.asarray(theta, np.float32)[None], batch)[0]
            pieces.append(cross_entropy(objective.readout.log_probabilities(np.zeros(0), scores), batch.labels))
        return np.concatenate(pieces)

    def loss(self, theta: Floats) -> float:
        """The mean loss over all training examples."""
        return float(self.losses(theta, self.everything).mean())

"""No federation: the baseline that says what the clients gain from each other."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedbbpt.algorithms import State
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.types import Client, Float32, Message, Parameters, Score, Update


class Local(FedAvg):
    """Every client for itself, with the steps of `fedavg`: nothing is averaged, and nothing travels.

    The state holds the common start (`prompt`, `readout`) and each client's own parameters (`client-000/prompt`, …).
    All clients keep the same round, the best one on all their validation data. Where clients differ in their labels,
    their own parameters learn that, too: this is then no lower bound of what federation reaches.
    """

    federated = False

    def local(self, message: Message, client: Client) -> Update:
        """See `FedAvg.local`."""
        update = super().local(_own(message, client), client)
        return replace(update, change={f"{client.id}/{part}": change for part, change in update.change.items()})

    def merge(self, state: State, updates: Sequence[Update]) -> State:
        """Adds each client's change to its own parameters."""
        parameters = dict(state.parameters)
        for update in updates:
            for name, change in update.change.items():
                parameters[name] = (_start(state.parameters, name) + change).astype(np.float32)
        return replace(state, round=state.round + 1, parameters=parameters)

    def score(self, split: str, message: Message, client: Client) -> Score:
        """See `FedAvg.score`."""
        return super().score(split, _own(message, client), client)


def _own(message: Message, client: Client) -> Message:
    """The message as if the client's own parameters were everybody's."""
    parts = [name for name in message.parameters if "/" not in name]
    own = {part: _start(message.parameters, f"{client.id}/{part}") for part in parts}
    return replace(message, parameters=own)


def _start(parameters: Parameters, name: str) -> Float32:
    """A client's own part; the common one before its first round."""
    return parameters[name] if name in parameters else parameters[name.rpartition("/")[2]]

"""No federation: the baseline that says what the clients gain from each other."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fedbbpt.algorithms import Exchange, R, Reply, State
from fedbbpt.algorithms.calibration import mean_loss
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.readouts import fit
from fedbbpt.algorithms.sound import MEMORY
from fedbbpt.types import Client, Float32, Message, Parameters, Score, Update, Usage


class Local(FedAvg):
    """Every client for itself, with the steps of `fedavg`: nothing is averaged, and nothing travels.

    The state holds the common start (`prompt`, `readout`, …) and each client's own parameters (`client-000/prompt`, …),
    with what `fedavg` keeps in mind between two rounds (`client-000/memory/lowest`, …).
    All clients keep the same round, the best one on all their validation data. Where clients differ in their labels,
    their own parameters learn that, too: this is then no lower bound of what federation reaches.
    """

    federated = False

    def round(self, state: State, exchange: Exchange) -> tuple[State, float]:
        """See `Algorithm`."""
        self._kept.clear()
        updates = exchange(self.local, self.broadcast(state))
        return self.merge(state, updates), mean_loss(updates)

    def local(self, message: Message, client: Client) -> Update:
        """See `FedAvg.local`; the client then merges its own update and fits its own readout."""
        own = State(message.round - 1, _own(message.parameters, client.id), _memory(message.parameters, client.id))
        update = super().local(replace(message, parameters=own.parameters), client)
        merged = super().merge(own, [update])

        def alone(work: Callable[[Message, Client], R], message: Message) -> list[R]:
            return [work(message, client)]

        told = Message(message.round, message.seed, {})
        readout = fit(self._objective.readout, merged.parameters["readout"], alone, self.sums, told).astype(np.float32)
        new = {**merged.parameters, "readout": readout, **{MEMORY + part: v for part, v in merged.memory.items()}}
        return replace(update, payload={f"{client.id}/{part}": values for part, values in new.items()})

    def merge(self, state: State, updates: Sequence[Update]) -> State:
        """Puts each client's new parameters in the place of its old ones."""
        told = {update.client for update in updates}
        others = {name: v for name, v in state.parameters.items() if name.partition("/")[0] not in told}
        new = {name: values for update in updates for name, values in update.payload.items()}
        return State(state.round + 1, others | new)

    def blank(self, work: Callable[..., Reply], message: Message) -> Reply:
        """See `FedAvg.blank`; an update holds all parts of the common start."""
        if work == self.local:
            payload = {f"/{part}": values for part, values in _own(message.parameters, "").items()}
            return Update("", payload, 0, math.nan, Usage())
        return super().blank(work, message)

    def score(self, split: str, message: Message, client: Client) -> Score:
        """See `FedAvg.score`."""
        return super().score(split, replace(message, parameters=_own(message.parameters, client.id)), client)


def _own(parameters: Parameters, client: str) -> dict[str, Float32]:
    """The parameters as if the client's own were everybody's; the common start before its first round."""
    parts = [name for name in parameters if "/" not in name]
    return {part: parameters.get(f"{client}/{part}", parameters[part]) for part in parts}


def _memory(parameters: Parameters, client: str) -> dict[str, Float32]:
    """What the client's own server keeps in mind; nothing before its first round."""
    prefix = f"{client}/{MEMORY}"
    return {name.removeprefix(prefix): values for name, values in parameters.items() if name.startswith(prefix)}

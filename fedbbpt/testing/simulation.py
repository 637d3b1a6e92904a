"""Runs an algorithm's two halves over clients in memory, for tests."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import safetensors.numpy

from fedbbpt.algorithms import Algorithm, AlgorithmContext, ClientMemory, ClientSizes, RoundReport, ServerState
from fedbbpt.engines import TUNED, Call, ClientHost, Engine, HostFactory, Memories, OnDropped
from fedbbpt.engines.letters import Senders, pass_on
from fedbbpt.engines.serial import Serial
from fedbbpt.objective import Objective
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.run.evaluate import Result, evaluate
from fedbbpt.testing.toy import Toy
from fedbbpt.types import Client, Message, Parameters, Received, Subset, Update

Make = Callable[[AlgorithmContext], Algorithm]


class Hosts(HostFactory):
    """Builds the clients' half, with a new algorithm for every host."""

    def __init__(self, make: Callable[[], Algorithm], objective: Objective, clients: Sequence[Client]) -> None:
        self._make, self._objective = make, objective
        self._clients = {client.id: client for client in clients}

    def here(self) -> ClientHost:
        """See `HostFactory`."""
        return ClientHost({TUNED: (self._make(), self._objective)}, self._clients)

    @property
    def opener(self) -> Callable[[], ClientHost]:
        """See `HostFactory`."""
        return self.here


class Rebuilding(Engine):
    """Builds a new host for every call, and passes only bytes, as if each call ran in its own process."""

    def __init__(self, hosts: HostFactory, memories: Memories, /) -> None:
        self._hosts, self._memories = hosts, memories
        self.messages: list[bytes] = []  # every message, once per client
        self.replies: list[tuple[str, bytes]] = []  # every reply, with its client

    def send(self, call: Call, clients: Sequence[str], on_dropped: OnDropped | None = None) -> Iterator[Any]:
        """See `Engine`."""
        return (self._reply(call, client) for client in clients)

    def _reply(self, call: Call, client: str) -> Any:
        ours = call.to(client)
        sent = ours.to_bytes()
        body = None if ours.body is None else ours.body.copy()
        message = replace(Message.from_bytes(sent), body=body)
        memory = self._memories[client]
        memory.arrays = safetensors.numpy.load(safetensors.numpy.save(_contiguous(memory.arrays)))
        reply: Any = self._hosts.here().answer(
            call._replace(message=message), client, memory, on_queries=self.on_queries
        )
        content = reply.to_bytes()
        self.messages.append(sent)
        self.replies.append((client, content))
        read = type(reply).from_bytes(content)
        return replace(read, body=reply.body) if isinstance(reply, Update) else read

    def take_letters(self, call: Call, senders: Senders, template: Update) -> Iterator[Received]:
        """See `Engine`."""
        return pass_on(self, self._memories, call, senders, template)

    def close(self) -> None:
        """Does nothing: there are no processes to end."""


class Simulation:
    """Rounds of an algorithm over clients in memory.

    Args:
        make: builds the algorithm; called once, or for every call with `rebuild`.
        objective: every client's access to the model.
        clients: the clients and their data.
        rebuild: whether every call of either half gets a new algorithm object.
        engine: runs the clients' half; unset, in this process.
    """

    def __init__(
        self,
        make: Callable[[], Algorithm],
        objective: Objective,
        clients: Sequence[Client],
        *,
        rebuild: bool = False,
        engine: type[Engine] | None = None,
    ) -> None:
        self._make, self._rebuild, self._algorithm = make, rebuild, make()
        self.sizes = [ClientSizes(c.id, len(c.train), len(c.validation), len(c.test)) for c in clients]
        self.memories = {client.id: ClientMemory() for client in clients}
        kind: Any = engine or (Rebuilding if rebuild else Serial)
        self.engine: Any = kind(Hosts(make if rebuild else lambda: self._algorithm, objective, clients), self.memories)
        self._pool: MeteredClientPool | None = None

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm; with `rebuild`, a new object every time."""
        return self._make() if self._rebuild else self._algorithm

    @property
    def pool(self) -> MeteredClientPool:
        """The clients of the last round.

        Raises:
            RuntimeError: there was none.
        """
        if self._pool is None:
            raise RuntimeError("no round has been run")
        return self._pool

    def open_pool(self, state: ServerState) -> MeteredClientPool:
        """The sampled clients of the state's next round."""
        sampled = self.algorithm.sample(state, self.sizes)
        self._pool = MeteredClientPool(self.engine, self.algorithm, sampled, state)
        return self._pool

    def round(self, state: ServerState) -> tuple[ServerState, RoundReport]:
        """Runs the next round."""
        return self.algorithm.round(state, self.open_pool(state).send)

    def states(self, rounds: int, state: ServerState | None = None) -> list[ServerState]:
        """Runs rounds; returns the first state and the one after each round."""
        states = [self.algorithm.init() if state is None else state]
        for _ in range(rounds):
            states.append(self.round(states[-1])[0])
        return states

    def result(self, state: ServerState) -> Parameters:
        """The parameters with which a run would end at this state."""
        return self.algorithm.result(state, self.open_pool(state).send)

    def evaluate(self, state: ServerState, subset: Subset) -> Result:
        """Scores all clients."""
        return evaluate(self.algorithm, state, self.sizes, subset, self.engine)


def simulate(make: Make, toy: Toy, *, seed: int = 5, rebuild: bool = False) -> Simulation:
    """Rounds of an algorithm on a toy task."""
    return Simulation(partial(make, toy.context(seed)), toy.objective, toy.clients, rebuild=rebuild)


def _contiguous(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}

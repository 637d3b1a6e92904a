"""Floods on a toy task, and engines that drop or change what nodes say."""

from collections.abc import Callable, Iterator

from fedbbpt.algorithms import ServerState
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.flood import Flood
from fedbbpt.algorithms.letters import LETTER
from fedbbpt.algorithms.local import CURRENT
from fedbbpt.algorithms.loss_broadcast import without_broadcast
from fedbbpt.engines.serial import Serial
from fedbbpt.testing import Toy
from fedbbpt.testing.simulation import Simulation, simulate
from fedbbpt.testing.toy import toy_client
from fedbbpt.types import Update

NODES = 6
TOPOLOGIES = ["ring", "torus", "exponential", "star", "complete", "random-regular:3", "erdos-renyi:0.6"]


def six_nodes():
    """Six nodes with 4 to 9 pictures."""
    return Toy(clients=[toy_client(f"node-{i}", 4 + i, i) for i in range(NODES)])


def flood(toy, topology="ring", engine=None):
    """A simulation of a flood."""
    objective, clients = toy.objective, toy.clients
    return Simulation(lambda: Flood(toy.context(), topology=topology), objective, clients, engine=engine)


def states_of(one):
    """What each node has."""
    found = {name: ServerState.from_arrays(memory.part("tuned"), CURRENT) for name, memory in one.memories.items()}
    arrays = {name: state.to_arrays() for name, state in found.items() if state is not None}
    salts = {own.pop("opt_state/salt").tobytes() for own in arrays.values() if "opt_state/salt" in own}
    assert len(salts) <= 1
    return arrays


def servers(toy, rounds):
    """What a server would have after each round."""
    return [without_broadcast(state).to_arrays() for state in simulate(FedAvg, toy).states(rounds)]


class Dropping(Serial):
    """Drops a node at one of its calls."""

    at: tuple[str, str, int] = ("", "", 0)  # node, handler, and how many of its calls it has answered before

    def send(self, call, clients, on_dropped=None) -> Iterator:
        node, handler, answered = self.at
        if call.handler == handler and node in clients:
            self.at = node, handler, answered - 1
            if not answered and on_dropped:
                on_dropped(node, "killed")
                clients = [client for client in clients if client != node]
        return super().send(call, clients, on_dropped)


class Forging(Serial):
    """Changes what one node writes to others."""

    change: Callable[[Update], Update] = staticmethod(lambda letter: letter)

    def send(self, call, clients, on_dropped=None) -> Iterator:
        replies = super().send(call, clients, on_dropped)
        if call.handler != LETTER:
            return replies
        return (
            self.change(reply) if client == "node-1" else reply for client, reply in zip(clients, replies, strict=True)
        )

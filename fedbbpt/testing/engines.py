"""The contract of engines: every client once, in order, with its memory, and the bits of `serial`."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from fedbbpt.algorithms import Algorithm, ClientMemory
from fedbbpt.algorithms.ensemble import Ensemble
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.fedbpt import FedBpt
from fedbbpt.algorithms.local import Local
from fedbbpt.engines import Call, ClientHost, Engine, HostFactory
from fedbbpt.engines.serial import Serial
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.testing.expect import expect, same_bits
from fedbbpt.testing.simulation import Hosts, Simulation
from fedbbpt.testing.toy import Toy

ALGORITHMS = {"ensemble": Ensemble, "fedavg": FedAvg, "fedbpt": FedBpt, "local": Local}


class ToyHosts(HostFactory):
    """Hosts of the toy task, for any process."""

    def __init__(self, algorithm: str) -> None:
        self._algorithm = algorithm

    def here(self) -> ClientHost:
        """See `HostFactory`."""
        return self.opener()

    @property
    def opener(self) -> Callable[[], ClientHost]:
        """See `HostFactory`."""
        return partial(_open_toy, self._algorithm)


def check_engine(make: Callable[..., Engine], *, rounds: int = 3) -> None:
    """Checks all promises of `Engine`.

    Args:
        make: the class, or a function that builds it with options.
        rounds: how many are run with each algorithm.

    Raises:
        ContractError: a promise is broken; says which.
    """
    for name in ALGORITHMS:
        ours, theirs = (_run(kind, name, rounds) for kind in (make, Serial))
        for before, after in zip(ours[0], theirs[0], strict=True):
            expect(same_bits(before.to_arrays(), after.to_arrays()), f"{name}: the bits of serial")
        for client, memory in ours[1].items():
            expect(same_bits(memory.durable, theirs[1][client].durable), f"{name}: {client} remembers the same")
        expect(ours[2] == theirs[2], f"{name}: the same bytes, exchanges and queries")


def _run(make: Callable[..., Engine], name: str, rounds: int) -> Any:
    toy, algorithm = _toy(name)
    simulation = Simulation(algorithm, toy.objective, toy.clients)
    memories = {client.id: ClientMemory() for client in toy.clients}
    with closing(make(ToyHosts(name), memories)) as engine:
        simulation.engine, simulation.memories = engine, memories
        states, counts = [simulation.algorithm.init()], []
        call = Call("train", simulation.algorithm.broadcast(states[0]))
        expect(list(engine.send(call, [])) == [], "no clients, no replies")
        for _ in range(rounds):
            states.append(simulation.round(states[-1])[0])
            pool = simulation.pool
            counts.append((pool.bytes_up, pool.bytes_down, pool.exchanges, pool.usage))
            engine.close()  # a later call starts it again
    return states, memories, counts


def _toy(name: str) -> tuple[Toy, Callable[[], Algorithm]]:
    """The toy task, and what builds an algorithm on it."""
    toy = Toy(optimizer=SepCma) if name == "fedbpt" else Toy()
    return toy, partial(ALGORITHMS[name], toy.context())


def _open_toy(name: str) -> ClientHost:
    toy, algorithm = _toy(name)
    return Hosts(algorithm, toy.objective, toy.clients).here()

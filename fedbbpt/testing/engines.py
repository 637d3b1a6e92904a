"""The contract of engines: every client once, in order, with its memory, and the bits of `serial`."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from fedbbpt.algorithms.ensemble import Ensemble
from fedbbpt.algorithms.fedavg import FedAvg
from fedbbpt.algorithms.fedbpt import FedBpt
from fedbbpt.algorithms.gossip import Gossip
from fedbbpt.algorithms.local import Local
from fedbbpt.engines import Call, Engine
from fedbbpt.engines.serial import Serial
from fedbbpt.optim.sep_cma import SepCma
from fedbbpt.testing.expect import expect, same_bits
from fedbbpt.testing.simulation import Hosts, Simulation
from fedbbpt.testing.toy import Toy

ALGORITHMS = {"ensemble": Ensemble, "fedavg": FedAvg, "fedbpt": FedBpt, "local": Local, "gossip": Gossip}


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
        expect(ours[3] == sum(usage.queries for *_, usage in ours[2]), f"{name}: on_queries hears of all queries")


def _run(make: Callable[..., Engine], name: str, rounds: int) -> Any:
    toy = Toy(optimizer=SepCma) if name == "fedbpt" else Toy()
    algorithm = partial(ALGORITHMS[name], toy.context())
    simulation = Simulation(algorithm, toy.objective, toy.clients)
    memories = simulation.memories
    with closing(make(Hosts(algorithm, toy.objective, toy.clients), memories)) as engine:
        simulation.engine, told = engine, list[int]()
        engine.on_queries = told.append
        states, counts = [simulation.algorithm.init()], []
        call = Call("train", simulation.algorithm.broadcast(states[0]))
        expect(list(engine.send(call, [])) == [], "no clients, no replies")
        for _ in range(rounds):
            states.append(simulation.round(states[-1])[0])
            pool = simulation.pool
            counts.append((pool.bytes_up, pool.bytes_down, pool.exchanges, pool.usage))
            engine.close()  # a later call starts it again
    return states, memories, counts, sum(told)

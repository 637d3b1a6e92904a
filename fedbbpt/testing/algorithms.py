"""The contract of federated algorithms: two halves that share nothing but messages, and counts that are exact."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fedbbpt.algorithms import Algorithm, AlgorithmContext, ClientMemory
from fedbbpt.errors import BackendError
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.testing.expect import ContractError, expect, same_bits
from fedbbpt.testing.simulation import Rebuilding, Simulation
from fedbbpt.testing.toy import Toy
from fedbbpt.types import Client, Score, Statistics, Update, Usage

Make = Callable[[AlgorithmContext], Algorithm]
MARK = np.float32(1234.5678)  # a number that does not occur by chance


def check_algorithm(make: Make, toy: Toy | None = None, *, rounds: int = 4) -> None:
    """Checks all promises of `Algorithm`; the algorithm is rebuilt before every call of either half.

    Args:
        make: the class, or a function that builds it with options.
        toy: the model, the clients and what is trained; its backend must be deterministic.
        rounds: number of rounds to run.

    Raises:
        ContractError: a promise is broken; the message names it.
    """
    toy = toy or Toy()
    check_halves(make, toy, rounds)
    check_usage(make, toy)
    check_privacy(make, toy, rounds)
    check_replies(make, toy)
    check_catching_up(make, toy, rounds)


def check_halves(make: Make, toy: Toy, rounds: int = 4) -> None:
    """Checks for the same bits with one object for the whole run, and with a new object for every call."""
    one, rebuilt = _simulation(make, toy), _simulation(make, toy, rebuild=True)
    for before, after in zip(one.states(rounds), rebuilt.states(rounds), strict=True):
        expect(same_bits(before.to_arrays(), after.to_arrays()), f"round {after.round}: a rebuilt algorithm goes on")
    for state in (before, one.algorithm.init()):
        for array in (*state.parameters.values(), *state.opt_state.values()):
            expect(array.dtype.kind in "fiu", "the server's state is plain numbers")
    ours, theirs = (which.evaluate(before, "validation") for which in (one, rebuilt))
    expect(_bytes(ours.scores) == _bytes(theirs.scores), "a rebuilt algorithm evaluates to the same bits")
    for client, memory in one.memories.items():
        expect(same_bits(memory.durable, rebuilt.memories[client].durable), f"{client} remembers the same")
    again, other = _simulation(make, toy).states(1), _simulation(make, toy, seed=6).states(1)
    expect(same_bits(again[0].to_arrays(), one.algorithm.init().to_arrays()), "init depends on the seed alone")
    moved = not same_bits(other[1].parameters, again[1].parameters)
    expect(moved or not one.algorithm.shares_parameters, "another seed goes another way")


def check_usage(make: Make, toy: Toy) -> None:
    """Checks that `expected_usage` and `prompts_per_input` are exact."""
    one = _simulation(make, toy)
    state, sizes = one.algorithm.init(), {client.id: client for client in one.sizes}
    for _ in range(2):
        chosen = [client.id for client in one.algorithm.sample(state, one.sizes)]
        known = [client.id for client in one.sizes if client.id in chosen]
        expect(chosen == known, "sample keeps the clients' order, and takes none twice")
        expected = [one.algorithm.expected_usage(sizes[client], state.round + 1) for client in chosen]
        state, _ = one.round(state)
        expect(_pool(one).usage == sum(expected, Usage()), "expected_usage says what a round asks")
        score = one.evaluate(state, "test").scores[0]
        if one.algorithm.access == "black-box" and toy.model.prompt.dim:
            asked = one.algorithm.prompts_per_input(state.round) * sizes[score.client].test
            expect(score.usage.queries == asked, "prompts_per_input says what an evaluation asks")


def check_privacy(make: Make, toy: Toy, rounds: int = 4) -> None:
    """Checks that validation and test data do not affect training, and that a client's data stay at the client."""
    (*_, state), swapped = _simulation(make, toy).states(2), _with_clients(toy, _swapped)
    (*_, other) = _simulation(make, swapped).states(2)
    expect(same_bits(state.to_arrays(), other.to_arrays()), "validation and test data do not reach the state")
    marked = _with_clients(toy, _marked)
    one = _simulation(make, marked, rebuild=True)
    (*_, last) = one.states(rounds)
    one.evaluate(last, "validation")
    engine: Rebuilding = one.engine
    patterns = [MARK.tobytes(), np.float64(MARK).tobytes(), marked.clients[0].train.inputs[0].tobytes()]
    sent = [*engine.messages, *(reply for client, reply in engine.replies if client != marked.clients[0].id)]
    written = [array.tobytes() for array in last.to_arrays().values()]
    for where, contents in (("a message or another client's reply", sent), ("the server's state", written)):
        found = any(pattern in content for content in contents for pattern in patterns)
        expect(not found, f"a client's data and answers are in {where}")


def check_replies(make: Make, toy: Toy) -> None:
    """Checks that unusable replies are reported and change nothing, and that all other replies are used."""
    honest = _simulation(make, toy)
    honest.round(honest.algorithm.init())
    expect(not _pool(honest).unusable, f"honest replies are used: {_pool(honest).unusable}")
    if len(toy.clients) < 2 or len(honest.algorithm.sample(honest.algorithm.init(), honest.sizes)) < len(toy.clients):
        return
    without = _simulation(make, toy.having(clients=toy.clients[1:]))
    state, report = without.round(without.algorithm.init())
    for name, poison in POISONS.items():
        one = _simulation(make, toy)
        pool = one.open_pool(one.algorithm.init())
        changed = _poison(pool, {toy.clients[0].id}, poison)
        left, its = one.algorithm.round(one.algorithm.init(), pool.send)
        if not changed:  # replies without arrays
            continue
        expect(pool.unusable.keys() == {toy.clients[0].id}, f"a reply with {name} is left out")
        same = same_bits(state.to_arrays(), left.to_arrays()) and np.array_equal(report, its, equal_nan=True)
        expect(same, f"a reply with {name} changes nothing")
        pool = one.open_pool(one.algorithm.init())
        _poison(pool, {client.id for client in toy.clients}, poison)
        try:
            one.algorithm.round(one.algorithm.init(), pool.send)
        except BackendError:
            continue
        raise ContractError(f"a round of replies with {name} alone cannot end")


def check_catching_up(make: Make, toy: Toy, rounds: int = 4) -> None:
    """Checks that a client that has lost its memory catches up."""
    one = _simulation(make, toy)
    states = one.states(rounds)
    forgetful = _simulation(make, toy)
    (*_, state) = forgetful.states(rounds - 1)
    client = toy.clients[0].id
    forgetful.memories[client].arrays = ClientMemory().arrays
    forgetful.memories[client].version += 1
    state, _ = forgetful.round(state)
    expect(not _pool(forgetful).unusable, "a client without a memory can take part")
    if one.algorithm.shares_parameters:
        expect(same_bits(state.parameters, states[-1].parameters), "a client that caught up does as the others")


def _simulation(make: Make, toy: Toy, *, seed: int = 5, rebuild: bool = False) -> Simulation:
    return Simulation(partial(make, toy.context(seed)), toy.objective, toy.clients, rebuild=rebuild)


def _pool(simulation: Simulation) -> MeteredClientPool:
    if simulation.pool is None:
        raise RuntimeError("no round has been run")
    return simulation.pool


def _bytes(scores: Sequence[Score]) -> list[bytes]:
    return [score.to_bytes() for score in scores]


def _with_clients(toy: Toy, change: Callable[[int, Client], Client]) -> Toy:
    return toy.having(clients=[change(i, client) for i, client in enumerate(toy.clients)])


def _swapped(_: int, client: Client) -> Client:
    return replace(client, validation=client.test, test=client.validation)


def _marked(i: int, client: Client) -> Client:
    """Marks the first client: its first image is a unique pattern, and a feature a unique number."""
    if i:
        return client
    inputs = np.array(client.train.inputs[:])
    inputs[0].flat[:] = np.random.default_rng(99).permutation(inputs[0].size) % 251
    features = client.train.features
    if features is not None:
        features = features.copy()
        features[0] = MARK
    return replace(client, train=replace(client.train, inputs=inputs, features=features))


def _arrays(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def poison(reply: Any) -> Any:
        if isinstance(reply, Statistics):
            return Statistics(change(reply.values))
        changed = {part: change(values) for part, values in reply.payload.items()}
        return replace(reply, payload=changed) if changed else reply

    return poison


def _update(**parts: Any) -> Callable[[Any], Any]:
    return lambda reply: replace(reply, **parts) if isinstance(reply, Update) else reply


POISONS: dict[str, Callable[[Any], Any]] = {
    "another type": _arrays(lambda values: values.astype(np.int64)),
    "another shape": _arrays(lambda values: np.zeros((*values.shape, 2), values.dtype)),
    "infinity": _arrays(lambda values: np.full_like(values, np.inf)),
    "NaN": _arrays(lambda values: np.full_like(values, np.nan)),
    "other parts": _update(payload={"more": np.zeros(2, np.float32)}),
    "another name": _update(client="nobody"),
    "a negative weight": _update(weight=-5),
}


def _poison(pool: MeteredClientPool, victims: set[str], poison: Callable[[Any], Any]) -> list[str]:
    """Lets something happen to the replies of some clients, on their way from the pool's engine.

    Returns the clients whose replies it has changed, as the rounds go on.
    """
    send, changed = pool.engine.send, list[str]()

    class Poisoned:
        def send(self, call: Any, clients: Sequence[str], on_dropped: Any = None) -> Any:
            for client, reply in zip(clients, send(call, clients, on_dropped), strict=True):
                poisoned = poison(reply) if client in victims else reply
                if poisoned is not reply:
                    changed.append(client)
                yield poisoned

    pool.engine = Poisoned()  # type: ignore[assignment]
    return changed

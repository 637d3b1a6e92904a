"""What must not leave a client: its data, and what the model says of them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fedbbpt.testing.expect import expect, same_bits
from fedbbpt.testing.simulation import Make, Rebuilding, simulate
from fedbbpt.testing.toy import Toy
from fedbbpt.types import Client

ROUNDS = 4
MARK = np.float32(1234.5678)  # a number that does not occur by chance


def check_privacy(make: Make, toy: Toy) -> None:
    """Checks that validation and test data do not affect training, and that a client's data stay at the client."""
    (*_, state), swapped = simulate(make, toy).states(2), _with_clients(toy, _swapped)
    (*_, other) = simulate(make, swapped).states(2)
    expect(same_bits(state.to_arrays(), other.to_arrays()), "validation and test data do not reach the state")
    marked = _with_clients(toy, _marked)
    one = simulate(make, marked, rebuild=True)
    (*_, last) = one.states(ROUNDS)
    one.evaluate(last, "validation")
    engine: Rebuilding = one.engine
    patterns = [MARK.tobytes(), np.float64(MARK).tobytes(), marked.clients[0].train.inputs[0].tobytes()]
    told = [*engine.messages, *(reply for _, reply in engine.replies)]
    written = [array.tobytes() for array in last.to_arrays().values()]
    for where, contents in (("a message or a reply", told), ("the server's state", written)):
        found = any(pattern in content for content in contents for pattern in patterns)
        expect(not found, f"a client's data are in {where}")
    _check_independence(make, toy)


def _check_independence(make: Make, toy: Toy) -> None:
    """Until the server can know, nobody but the client whose data differ says or is told anything else."""
    last, runs = toy.clients[-1], []
    other = replace(last, train=toy.clients[0].train)
    for theirs in (last, other):
        one = simulate(make, toy.having(clients=[*toy.clients[:-1], theirs]), rebuild=True)
        one.states(1)
        runs.append(list(zip(one.engine.messages, one.engine.replies, strict=True)))
    for (told, reply), (told_too, reply_too) in zip(*runs, strict=False):
        expect(told == told_too, "messages depend on what clients have said, not on their data")
        if reply != reply_too:
            expect(reply[0] == last.id, "a client's reply depends on its own data")
            return


def _with_clients(toy: Toy, change: Callable[[int, Client], Client]) -> Toy:
    return toy.having(clients=[change(i, client) for i, client in enumerate(toy.clients)])


def _swapped(_: int, client: Client) -> Client:
    return replace(client, validation=client.test, test=client.validation)


def _marked(i: int, client: Client) -> Client:
    """The first client's first image is a pattern, and one of its features a number, that nobody else has."""
    if i:
        return client
    inputs = np.array(client.train.inputs[:])
    inputs[0].flat[:] = np.random.default_rng(99).permutation(inputs[0].size) % 251
    features = client.train.features
    if features is not None:
        features = features.copy()
        features[0] = MARK
    return replace(client, train=replace(client.train, inputs=inputs, features=features))

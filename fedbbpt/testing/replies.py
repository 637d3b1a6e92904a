"""What a federation does with replies that cannot be used."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from fedbbpt.algorithms import RoundReport
from fedbbpt.engines import Engine
from fedbbpt.engines.letters import pass_on
from fedbbpt.errors import BackendError, ConfigError
from fedbbpt.run.client_pool import MeteredClientPool
from fedbbpt.testing.expect import expect, same_bits
from fedbbpt.testing.simulation import Make, Simulation, simulate
from fedbbpt.testing.toy import Toy
from fedbbpt.types import OutOfDate, Score, Statistics, Update, Usage

NOT_FINITE = ("infinity", "NaN")
WRONG_SCORES: tuple[dict[str, Any], ...] = ({"loss_sum": float("nan")}, {"confusion": np.zeros((9, 9), np.int64)})


def check_replies(make: Make, toy: Toy) -> None:
    """What cannot be used is as if its client had not been there, and is named; honest replies are never left out."""
    honest = simulate(make, toy)
    honest.round(honest.algorithm.init())
    expect(not honest.pool.unusable, f"honest replies are used: {honest.pool.unusable}")
    if len(toy.clients) < 2 or len(honest.algorithm.sample(honest.algorithm.init(), honest.sizes)) < len(toy.clients):
        return
    without = Simulation(partial(make, toy.context()), toy.objective, toy.clients[1:])
    state, report = without.round(without.algorithm.init())
    for name, poison in POISONS.items():
        one = simulate(make, toy)
        pool = one.open_pool(one.algorithm.init())
        poisoned = _poison(pool, {toy.clients[0].id}, poison)
        left, its = one.algorithm.round(one.algorithm.init(), pool.send)
        if not poisoned.changed:  # replies without arrays
            continue
        expect(pool.unusable.keys() == {toy.clients[0].id}, f"a reply with {name} is left out")
        same = same_bits(state.to_arrays(), left.to_arrays()) and _equal(report, its)
        same |= one.algorithm.is_decentralised  # neighbours are others without it, and share their weights anew
        expect(same, f"a reply with {name} changes nothing")
        _check_all_poisoned(make, toy, name)


def _equal(one: RoundReport, other: RoundReport) -> bool:
    return np.array_equal(one.loss, other.loss, equal_nan=True) and one[1:] == other[1:]


def _check_all_poisoned(make: Make, toy: Toy, name: str) -> None:
    """A round of replies that nobody can use ends with an error that names clients.

    Changes of parameters that are not finite are how a run diverges: that is for the algorithm to say, or to mend.
    """
    one = simulate(make, toy)
    start = one.algorithm.init()
    pool = one.open_pool(start)
    poisoned = _poison(pool, {client.id for client in toy.clients}, POISONS[name])
    try:
        state, _ = one.algorithm.round(start, pool.send)
    except BackendError as e:
        expect(toy.clients[0].id in str(e), f"a round of replies with {name} alone names clients")
    except ConfigError:
        expect(
            poisoned.may_diverge and name in NOT_FINITE, f"a round of replies with {name} alone is no setting's fault"
        )
    else:
        known = [part for part, values in start.parameters.items() if np.isfinite(values).all()]
        finite = all(np.isfinite(state.parameters[part]).all() for part in known)
        expect(
            poisoned.may_diverge and name in NOT_FINITE and finite, f"a round of replies with {name} alone cannot end"
        )


def check_scores(make: Make, toy: Toy) -> None:
    """Scores that cannot be used are left out."""
    one, wrong = simulate(make, toy), dict(zip([client.id for client in toy.clients], WRONG_SCORES, strict=False))
    state, send = one.algorithm.init(), one.engine.send

    def poisoned(call: Any, clients: Sequence[str], on_dropped: Any = None) -> Any:
        replies = zip(clients, send(call, clients, on_dropped), strict=True)
        return (replace(reply, **wrong.get(client, {})) for client, reply in replies)

    one.engine.send = poisoned
    result = one.evaluate(state, "test")
    expect(result.pool.unusable.keys() == wrong.keys(), "scores that cannot be used are found out")
    left = [client.id for client in toy.clients if client.id not in wrong]
    expect([score.client for score in result.scores] == left, "scores that can be used are used")


def _arrays(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def poison(reply: Any) -> Any:
        if isinstance(reply, Statistics):
            return Statistics(change(reply.values)) if reply.values.size else reply
        if not isinstance(reply, Update) or not any(values.size for values in reply.payload.values()):
            return reply
        return replace(reply, payload={part: change(values) for part, values in reply.payload.items()})

    return poison


def _update(**parts: Any) -> Callable[[Any], Any]:
    return lambda reply: replace(reply, **parts) if isinstance(reply, Update) else reply


POISONS: dict[str, Callable[[Any], Any]] = {
    "another type": _arrays(lambda values: values.astype(np.int64)),
    "another shape": _arrays(lambda values: np.zeros((*values.shape, 2), values.dtype)),
    "infinity": _arrays(lambda values: np.full_like(values, np.inf) if values.dtype.kind == "f" else values),
    "NaN": _arrays(lambda values: np.full_like(values, np.nan) if values.dtype.kind == "f" else values),
    "other parts": _update(payload={"more": np.zeros(2, np.float32)}),
    "another name": _update(client="nobody"),
    "a negative weight": _update(weight=-5),
    "a score in it": lambda reply: Score("client-000", np.zeros((1, 1), np.int64), 0.0, 0, Usage()),
    "no way to follow": lambda reply: OutOfDate("client-000"),
}


class _Poisoned:
    """An engine of which some clients' replies become others; says whether any did."""

    def __init__(self, engine: Any, victims: set[str], poison: Callable[[Any], Any]) -> None:
        self._engine, self._victims, self._poison = engine, victims, poison
        self.changed = self.may_diverge = False  # may_diverge: some were changes of parameters

    def send(self, call: Any, clients: Sequence[str], on_dropped: Any = None) -> Iterator[Any]:
        for client, reply in zip(clients, self._engine.send(call, clients, on_dropped), strict=True):
            poisoned = self._poison(reply) if client in self._victims else reply
            self.changed |= poisoned is not reply
            if isinstance(reply, Update) and reply.payload:
                self.may_diverge |= reply.payload.keys() <= call.to(client).parameters.keys()
            yield poisoned

    def take_letters(self, call: Any, senders: Any, template: Any) -> Iterator[Any]:
        return pass_on(cast(Engine, self), self._engine._memories, call, senders, template)


def _poison(pool: MeteredClientPool, victims: set[str], poison: Callable[[Any], Any]) -> _Poisoned:
    """Lets something happen to the replies of some clients, on their way from the pool's engine."""
    poisoned = _Poisoned(pool.engine, victims, poison)
    pool.engine = poisoned  # type: ignore[assignment]
    return poisoned

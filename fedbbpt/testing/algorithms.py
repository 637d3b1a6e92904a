"""The contract of federated algorithms: two halves that share nothing but messages, and counts that are exact."""

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from fedbbpt.algorithms import ClientMemory, ClientSizes, ServerState
from fedbbpt.backend import Backend, BackendOutput, Meter
from fedbbpt.testing.expect import expect, same_bits
from fedbbpt.testing.privacy import check_privacy
from fedbbpt.testing.replies import check_replies, check_scores
from fedbbpt.testing.simulation import Make, Simulation, simulate
from fedbbpt.testing.toy import Toy
from fedbbpt.types import Inputs, Score, Usage

ROUNDS = 4
LONG = 10  # rounds of training that has to help
SAMPLED = 20  # clients


def check_algorithm(make: Make, toy: Toy | None = None) -> None:
    """Checks all promises of `Algorithm`; the algorithm is rebuilt before every call of either half.

    Args:
        make: the class, or a function that builds it with options.
        toy: the model, the clients and what is trained; its backend must be deterministic.

    Raises:
        ContractError: a promise is broken; the message names it.
    """
    for check in ALGORITHM_CHECKS:
        check(make, toy or Toy())


def check_halves(make: Make, toy: Toy) -> None:
    """Checks for the same bits with one object for the whole run, and with a new object for every call."""
    kept, rebuilt = simulate(make, toy), simulate(make, toy, rebuild=True)
    untouched = _contents(vars(kept.algorithm))
    states = kept.states(ROUNDS)
    for before, after in zip(states, rebuilt.states(ROUNDS), strict=True):
        expect(same_bits(before.to_arrays(), after.to_arrays()), f"round {after.round}: a rebuilt algorithm goes on")
    expect([state.round for state in states] == list(range(ROUNDS + 1)), "a round counts itself")
    expect(same_bits(states[0].to_arrays(), kept.algorithm.init().to_arrays()), "rounds leave the state before alone")
    for state in states:
        for array in (*state.parameters.values(), *state.opt_state.values()):
            expect(array.dtype.kind in "fiu", "the server's state is plain numbers")
    ours, theirs = (one.evaluate(states[-1], "validation") for one in (kept, rebuilt))
    expect(_bytes(ours.scores) == _bytes(theirs.scores), "a rebuilt algorithm evaluates to the same bits")
    for client, memory in kept.memories.items():
        expect(same_bits(memory.durable, rebuilt.memories[client].durable), f"{client} remembers the same")
    expect(_contents(vars(kept.algorithm)) == untouched, "an algorithm never changes after it was made")


def check_randomness(make: Make, toy: Toy) -> None:
    """Checks that the seed alone decides what is drawn, and that every round draws anew."""
    start, again = (simulate(make, toy).algorithm.init() for _ in range(2))
    expect(same_bits(start.to_arrays(), again.to_arrays()), "init depends on the seed alone")
    if not simulate(make, toy).algorithm.shares_parameters:
        return
    ours = _trained(simulate(make, toy), start)
    expect(not same_bits(_trained(simulate(make, toy, seed=6), start), ours), "another seed goes another way")
    expect(not same_bits(_trained(simulate(make, toy), replace(start, round=1)), ours), "every round draws anew")


def check_sampling(make: Make, toy: Toy) -> None:
    """Checks for equally many clients in every round, in order, none twice; drawn from the seed and the round alone."""
    everybody = [ClientSizes(f"client-{i:03d}", 1, 1, 1) for i in range(SAMPLED)]
    one, counts = simulate(make, toy), set()
    for round_ in range(ROUNDS):
        state = replace(one.algorithm.init(), round=round_)
        chosen = one.algorithm.sample(state, everybody)
        expect(chosen == sorted(set(chosen)), "sample keeps the clients' order, and takes none twice")
        expect(set(chosen) <= set(everybody), "sample takes some of the clients")
        expect(simulate(make, toy).algorithm.sample(state, everybody) == chosen, "a rebuilt algorithm samples the same")
        counts.add(len(chosen))
    expect(len(counts) == 1 and 0 not in counts, "sample takes equally many in every round")


def check_usage(make: Make, toy: Toy) -> None:
    """Checks that `expected_usage`, `prompts_per_input` and the usage in replies are exact."""
    meter = Meter(toy.backend)
    one = Simulation(lambda: make(toy.context()), toy.model.on(meter), toy.clients)
    state, sizes, black_box = one.algorithm.init(), one.sizes, one.algorithm.access == "black-box"
    for _ in range(ROUNDS):
        before = meter.usage
        chosen = one.algorithm.sample(state, sizes)
        expected = [one.algorithm.expected_usage(client, state.round + 1) for client in chosen]
        expect(meter.usage == before, "to say what a round asks takes no query")
        state, _ = one.round(state)
        asked = one.pool.usage
        expect(asked == sum(expected, Usage()) or (not toy.model.prompt.dim and black_box), "expected_usage is exact")
        expect(meter.usage == before + asked or not black_box, "replies say what was asked for them")
        score = one.evaluate(state, "test").scores[0]
        if black_box and toy.model.prompt.dim:
            asked_for = one.algorithm.prompts_per_input(state.round) * sizes[0].test
            expect(score.usage.queries == asked_for, "prompts_per_input says what an evaluation asks")
    if "sharpness" in one.algorithm.handlers:
        one.open_pool(state).send("sharpness", one.algorithm.broadcast(state))
        expected = [one.algorithm.sharpness_usage(client) for client in sizes]
        expect(one.pool.usage == sum(expected, Usage()), "sharpness_usage is exact")
    settled = one.algorithm.settled_round
    for round_ in range(settled, settled + ROUNDS):
        now, then = (
            (one.algorithm.expected_usage(sizes[0], at), one.algorithm.prompts_per_input(at))
            for at in (settled, round_)
        )
        expect(now == then, "expected_usage and prompts_per_input are constant from settled_round on")


def check_exchanges(make: Make, toy: Toy) -> None:
    """Checks that no round takes more than `most_exchanges`, which is constant from `settled_round` on."""
    one = simulate(make, toy)
    state, settled = one.algorithm.init(), one.algorithm.settled_round
    for round_ in range(1, LONG + 1):
        most = one.algorithm.most_exchanges(round_)
        state, _ = one.round(state)
        sent = one.pool.exchanges if one.algorithm.shares_parameters else 0
        expect(sent <= most, f"most_exchanges bounds those of a round: round {round_} took {sent}, not at most {most}")
        steady = round_ < settled or most == one.algorithm.most_exchanges(settled)
        expect(steady, "most_exchanges is constant from settled_round on")
    for scored in (one.algorithm.init(), state):
        expect(one.evaluate(scored, "validation").pool.exchanges == 1, "an evaluation is one exchange")


def check_learning(make: Make, toy: Toy) -> None:
    """Checks that training lowers the validation loss, and changes what clients share."""
    one = simulate(make, toy)
    start, *_, trained = one.states(LONG)
    before, after = (one.evaluate(state, "validation").loss for state in (start, trained))
    expect(after < before, f"training lowers the validation loss: it went from {before:.4f} to {after:.4f}")
    moved = not same_bits(start.parameters, trained.parameters)
    shared = one.algorithm.shares_parameters and not one.algorithm.is_decentralised
    expect(moved == shared, "the state has new parameters just where clients share them")


def check_failures(make: Make, toy: Toy) -> None:
    """Checks that some failed queries are survived, and that a model that answers nothing teaches nothing."""
    if simulate(make, toy).algorithm.access == "white-box":
        return
    some = simulate(make, toy.having(backend=_Failing(toy.backend, share=0.3)))
    start, *_, last = some.states(ROUNDS)
    for part, values in some.result(last).items():
        expect(bool(np.isfinite(values).all()) or _has_gaps(start, part), f"failed queries leave {part} finite")
    expect(np.isfinite(some.evaluate(last, "validation").loss), "failed queries leave scores finite")
    silent = simulate(make, toy.having(backend=_Failing(toy.backend, share=1)))
    start = silent.algorithm.init()
    state, report = silent.round(start)
    expect(bool(np.isnan(report.loss)), "a model that answers nothing has no loss")
    if not start.parameters["readout"].any():
        expect(not silent.result(state)["readout"].any(), "a readout learns nothing from no answers")


def check_catching_up(make: Make, toy: Toy) -> None:
    """A client that has lost its memory is told all that it lacks, and the run goes on."""
    one = simulate(make, toy)
    states = one.states(ROUNDS)
    forgetful = simulate(make, toy)
    (*_, state) = forgetful.states(ROUNDS - 1)
    client = toy.clients[0].id
    forgetful.memories[client].arrays = ClientMemory().arrays
    forgetful.memories[client].version += 1
    state, _ = forgetful.round(state)
    expect(not forgetful.pool.unusable, "a client without a memory can take part")
    if one.algorithm.shares_parameters and not one.algorithm.is_decentralised:  # there, its own are lost
        expect(same_bits(state.parameters, states[-1].parameters), "a client that caught up does as the others")


ALGORITHM_CHECKS = (
    check_halves,
    check_randomness,
    check_sampling,
    check_usage,
    check_exchanges,
    check_learning,
    check_privacy,
    check_replies,
    check_scores,
    check_failures,
    check_catching_up,
)


class _Failing(Backend):
    """Answers nothing to a share of the inputs, whichever their content decides."""

    def __init__(self, backend: Backend, share: float) -> None:
        self.info, self._backend, self._share = backend.info, backend, share

    def query(self, inputs: Inputs) -> BackendOutput:
        output = self._backend.query(inputs)
        contents = [one.encode() if isinstance(one, str) else one.tobytes() for one in inputs]
        lost = np.array([crc32(content) < self._share * 2**32 for content in contents])
        return output._replace(scores=np.where(lost[:, None], np.float32(np.nan), output.scores))


def _trained(one: Simulation, start: ServerState) -> dict[str, Any]:
    """The parameters after a round: those of the state, and, where there is no server, those of all clients."""
    shared = dict(one.states(1, start)[-1].parameters)
    if not one.algorithm.is_decentralised:
        return shared
    own = {f"{client}/{name}": array for client, one in one.memories.items() for name, array in one.arrays.items()}
    return shared | {name: array for name, array in own.items() if "/parameters/" in name}


def _has_gaps(state: ServerState, part: str) -> bool:
    return part in state.parameters and bool(np.isnan(state.parameters[part]).any())


def _contents(value: Any) -> Any:
    """Something that is equal as long as no array, list, mapping or data class inside the value changes."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return {name: _contents(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_contents(one) for one in value]
    if is_dataclass(value):
        return [id(value), _contents(vars(value))]
    return id(value) if hasattr(value, "__dict__") else value


def _bytes(scores: Sequence[Score]) -> list[bytes]:
    return [score.to_bytes() for score in scores]

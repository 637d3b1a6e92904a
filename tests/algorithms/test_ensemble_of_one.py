"""A single prompt: chosen by the loss of the readout fitted to its answers, and only if that is worth the change."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from fedbbpt.objective import Objective
from fedbbpt.prompts.dct import Dct
from fedbbpt.readouts.linear import LinearReadout

PROMPT = Dct((8, 8), frequencies=2)  # that of `ensemble`


def fitted_loss(backend, prompt, theta, clients):
    """What a fit minimises (nats), after a fit to all clients' answers under one prompt."""
    readout = LinearReadout(backend.info, backend.info.classes)
    objective = Objective(backend.info, prompt, readout, backend)
    scores = np.concatenate([objective.answers(theta[None], one.train.batch(slice(None)))[0] for one in clients])
    data = readout.fit_data(scores, np.concatenate([one.train.labels for one in clients]))
    weights = readout.fit(readout.init(1), lambda w: readout.statistics(w, data))
    count, loss = readout.statistics(weights, data)[:2]
    return loss / count + 0.004 / 2 * (weights @ weights)


def handlers_of(simulation, spied, rounds):
    """The states, and how many exchanges of each kind every round took."""
    exchanges, states, counts = spied(simulation), [simulation.algorithm.init()], []
    for _ in range(rounds):
        states.append(simulation.round(states[-1])[0])
        counts.append(Counter(call.handler for call, _ in exchanges))
        exchanges.clear()
    return states, counts


def test_it_may_be_replaced_each_round(ensemble, rounds, fake_backend, clients):
    states, losses = rounds(ensemble(clients, fake_backend, num_prompts=1, prompt_decay=0), 4)
    assert [state.parameters["prompt"].shape for state in states] == [(PROMPT.dim,)] * 5
    assert states[-1].parameters["prompt"].any()
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(("decay", "frequencies", "moves"), [(0.0, 2, True), (0.02, 2, True), (0.02, 5, False)])
def test_the_candidate_of_least_loss_and_decay_is_chosen(ensemble, fake_backend, clients, decay, frequencies, moves):
    """In more than 13 dimensions, a change counts as much as one of the same length in 13."""
    prompt = Dct((8, 8), frequencies=frequencies)  # 12 and 75 numbers
    simulation = ensemble(clients, fake_backend, prompt=prompt, num_prompts=1, prompt_decay=decay, population=8)
    moved = 0
    for before, after in pairwise(simulation.states(4)):
        tried = [before.parameters["prompt"], *simulation.algorithm._candidates(simulation.algorithm.broadcast(before))]
        costs = [decay / 2 * (theta @ theta) / min(13, prompt.dim) for theta in tried]
        worth = [fitted_loss(fake_backend, prompt, tried[i], clients) + costs[i] for i in range(len(tried))]
        chosen = [np.array_equal(after.parameters["prompt"], theta) for theta in tried].index(True)
        assert worth[chosen] <= min(worth) + 0.01  # moments do not tell all
        moved += chosen > 0
    assert bool(moved) == moves


def test_with_much_decay_it_stays_and_is_fitted_once(ensemble, spied, fake_backend, clients):
    simulation = ensemble(clients, fake_backend, num_prompts=1, prompt_decay=1e3)
    states, counts = handlers_of(simulation, spied, 3)
    assert not any(state.parameters["prompt"].any() for state in states)
    assert [count["fit_statistics"] > 0 for count in counts] == [True, False, False]
    assert np.array_equal(states[1].parameters["readout"], states[3].parameters["readout"])


def test_a_client_that_comes_back_is_fitted_too(ensemble, spied, fake_backend, clients):
    simulation = ensemble(clients, fake_backend, num_prompts=1, prompt_decay=1e3)
    exchanges, sizes, state, fits = spied(simulation), simulation.sizes, simulation.algorithm.init(), []
    for present in (sizes[:2], sizes[:2], sizes, sizes):
        simulation.sizes = present
        state, _ = simulation.round(state)
        fits.append(any(call.handler == "fit_statistics" for call, _ in exchanges))
        exchanges.clear()
    assert fits == [True, False, True, False]


def test_a_round_is_one_exchange_of_candidates_one_fit_and_one_commit(ensemble, spied, fake_backend, clients):
    simulation = ensemble(clients, fake_backend, num_prompts=1, prompt_decay=0)
    _, counts = handlers_of(simulation, spied, 3)
    for round_, count in enumerate(counts, 1):
        assert (count["train"], count["commit"], count["catch_up"]) == (1, 1, round_ == 1)
        assert 0 < count["fit_statistics"] <= simulation.algorithm._readout.most_exchanges
        assert sum(count.values()) <= simulation.algorithm.most_exchanges(round_)

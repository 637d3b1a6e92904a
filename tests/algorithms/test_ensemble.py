"""Several prompts, chosen one by one: which candidates are tried, which is chosen, and the readout on all of them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from fedbbpt.algorithms.client import SCRATCH
from fedbbpt.algorithms.ensemble import ANSWERS, COUNTS, FITTED, STATISTICS, Ensemble
from fedbbpt.engines import TUNED
from fedbbpt.errors import ConfigError
from fedbbpt.objective import Objective
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.readouts.linear import LinearReadout
from fedbbpt.readouts.prototypes import Prototypes
from fedbbpt.types import Client

PROMPT = Dct((8, 8), frequencies=2)  # that of `ensemble`


def prompts_of(state):
    return state.parameters["prompt"].reshape(-1, PROMPT.dim)


def candidates_of(simulation, state):
    return simulation.algorithm._candidates(simulation.algorithm.broadcast(state))


def stored_answers(simulation, client):
    """(V, N, C): those that a client stores."""
    return simulation.memories[client].part(TUNED)[ANSWERS]


def asked_again(backend, theta, client):
    """The scores of a client's training data under one prompt."""
    objective = Objective(backend.info, PROMPT, LinearReadout(backend.info, backend.info.classes), backend)
    return objective.answers(theta[None], client.train.batch(slice(None)))[0, :, 0]


@pytest.mark.parametrize("selection", ["greedy", "random"])
def test_by_chance_no_answer_decides(ensemble, make_backend, clients, selection):
    ends = []
    for fails in (None, lambda images: images[:, 0].mean((1, 2)) > 0.3):
        simulation = ensemble(clients, make_backend(fails=fails), num_prompts=2, selection=selection)
        ends.append(prompts_of(simulation.states(5)[-1]))
    assert np.array_equal(*ends) == (selection == "random")


@pytest.mark.parametrize("limit", [2, 4])
def test_prompts_grow_one_a_round_up_to_the_limit(ensemble, fake_backend, clients, limit):
    simulation = ensemble(clients, fake_backend, num_prompts=limit)
    states = simulation.states(6)
    counts = [len(prompts_of(state)) for state in states]
    assert counts == [min(1 + done, limit) for done in range(7)]
    assert counts == [simulation.algorithm.prompts_per_input(done) for done in range(7)]
    assert [len(state.parameters["readout"]) for state in states] == [3 * (3 * count + 1) for count in counts]
    assert [set(state.opt_state) for state in states] == [set(), *[{FITTED, COUNTS}] * 6]


def test_the_first_is_the_prompts_start_and_the_others_stay_while_prompts_are_added(ensemble, fake_backend, clients):
    states = ensemble(clients, fake_backend, num_prompts=5).states(4)
    assert not prompts_of(states[0]).any()
    for before, after in pairwise(states):
        assert np.array_equal(prompts_of(after)[:-1], prompts_of(before))
    assert len({prompt.tobytes() for prompt in prompts_of(states[-1])}) == 5


def test_then_one_slot_after_the_other_is_offered_for_replacement(ensemble, fake_backend, clients):
    states = ensemble(clients, fake_backend, num_prompts=3, population=30).states(11)
    replaced = set()
    for before, after in pairwise(states[2:]):  # the rounds that start with all prompts
        changed = set(np.flatnonzero((prompts_of(before) != prompts_of(after)).any(1)))
        assert changed <= {(after.round - 1) % 3}
        replaced |= changed
    assert replaced == {0, 1, 2}


def test_candidates_for_a_slot_lie_around_its_prompt_and_come_closer(ensemble, fake_backend, clients):
    simulation, sizes = ensemble(clients, fake_backend, num_prompts=2, population=200), []
    for state in simulation.states(5):
        prompts, slot = prompts_of(state), (state.round % 2 if len(prompts_of(state)) == 2 else None)
        centre = np.zeros(PROMPT.dim) if slot is None else prompts[slot]
        sizes.append((candidates_of(simulation, state) - centre).std())
    expected = [2, 2 / np.sqrt(2), 2 / np.sqrt(2), 2 / np.sqrt(3), 2 / np.sqrt(3), 2 / np.sqrt(4)]
    assert sizes == pytest.approx(expected, rel=0.05)


def test_the_answers_that_clients_store_are_those_of_the_chosen_prompts(ensemble, fake_backend, clients):
    simulation = ensemble(clients, fake_backend, num_prompts=3)
    state = simulation.algorithm.init()
    for _ in range(7):
        state, _ = simulation.round(state)
        for client in clients:
            again = [asked_again(fake_backend, theta, client) for theta in prompts_of(state)]
            np.testing.assert_allclose(stored_answers(simulation, client.id), again, atol=1e-5)
            assert not simulation.memories[client.id].part(f"{SCRATCH}/{TUNED}")


def test_the_training_loss_hardly_rises_while_prompts_are_added(ensemble, rounds, fake_backend, clients):
    _, losses = rounds(ensemble(clients, fake_backend, num_prompts=8), 7)
    assert (np.diff(losses) < 0.02).all()  # it is minimised together with the decay
    assert losses[-1] < losses[0]


def test_the_loss_is_that_of_the_new_parameters_on_the_training_data(ensemble, rounds, fake_backend, clients):
    simulation = ensemble(clients, fake_backend, num_prompts=3)
    states, losses = rounds(simulation, 5)
    for state, loss in zip(states[1:], losses, strict=True):
        assert loss == pytest.approx(simulation.evaluate(state, "train").loss, abs=1e-4)


def test_the_readout_is_fitted_to_all_answers_to_the_prompts(ensemble, fake_backend, clients):
    simulation = ensemble(clients, fake_backend, num_prompts=3)
    readout = LinearReadout(fake_backend.info, fake_backend.info.classes)
    labels, state = np.concatenate([client.train.labels for client in clients]), simulation.algorithm.init()
    for _ in range(5):
        state, report = simulation.round(state)
        scores = np.concatenate([stored_answers(simulation, client.id) for client in clients], 1).swapaxes(0, 1)
        data = readout.fit_data(scores, labels)
        weights = readout.fit(readout.init(scores.shape[1]), lambda w, data=data: readout.statistics(w, data))
        count, total = readout.statistics(weights, data)[:2]
        assert report.loss == pytest.approx(total / count, abs=1e-3)


def test_the_candidate_that_explains_most_of_the_errors_is_chosen(ensemble, fake_backend, clients):
    """|residualᵀ s|² / |s|² over all data, with the residual of a readout that is fitted to the prompts so far."""
    simulation = ensemble(clients, fake_backend, num_prompts=4, population=12)
    labels = np.concatenate([client.train.labels for client in clients])
    readout = LinearReadout(fake_backend.info, fake_backend.info.classes)

    def scores_under(prompts):
        asked = [[asked_again(fake_backend, theta, client) for client in clients] for theta in prompts]
        return np.stack([np.concatenate(one) for one in asked], 1)  # (N, V, C)

    for before, after in pairwise(simulation.states(3)):
        candidates = candidates_of(simulation, before)
        scores, more = scores_under(prompts_of(before)), scores_under(candidates)
        data = readout.fit_data(scores, labels)
        weights = readout.fit(readout.init(scores.shape[1]), lambda w, data=data: readout.statistics(w, data))
        residual = np.exp(readout.log_probabilities(weights, scores)) - np.eye(3)[labels]
        features = (more - more.mean(-1, keepdims=True)) / np.sqrt(3)
        gains = [((residual.T @ s) ** 2).sum() / (s**2).sum() for s in features.swapaxes(0, 1)]
        assert np.array_equal(prompts_of(after)[-1], candidates[np.argmax(gains)])
        assert np.sort(gains)[-1] > 1.001 * np.sort(gains)[-2]  # no tie that the last bit decides


def test_other_rounds_and_seeds_try_other_candidates(ensemble, fake_backend, clients):
    def tried(seed, round_):
        simulation = ensemble(clients, fake_backend, seed=seed)
        return candidates_of(simulation, replace(simulation.algorithm.init(), round=round_)).tobytes()

    assert len({tried(seed, round_) for seed in (1, 2) for round_ in (0, 1, 2)}) == 6


def test_a_candidate_that_the_model_never_answers_is_never_chosen(ensemble, make_backend, fake_backend, clients):
    state = ensemble(clients, fake_backend, num_prompts=2).states(1)[-1]
    best = prompts_of(state)[1]
    inputs = np.concatenate([client.train.batch(slice(None)).inputs for client in clients])
    images, asked = PROMPT.apply(best[None], inputs, None), []

    def fails(inputs):
        wrong = np.abs(inputs[:, None] - images).max((2, 3, 4)).min(1) < 1e-5
        asked.extend(wrong)
        return wrong

    other = ensemble(clients, make_backend(fails=fails), num_prompts=2).states(1)[-1]
    assert sum(asked) == len(images)
    assert not np.array_equal(prompts_of(other)[1], best)
    assert np.isfinite(other.parameters["readout"]).all()


@pytest.fixture
def white(clients):
    """A client with one white image."""
    train = clients[2].train.take(np.arange(1))
    train = replace(train, inputs=np.full_like(train.inputs, 255))
    return Client("white", train, clients[2].validation, clients[2].test)


def test_a_client_whose_images_are_never_answered_changes_nothing(ensemble, make_backend, fake_backend, clients, white):
    without = ensemble(clients[:2], fake_backend, num_prompts=3).states(4)
    backend = make_backend(fails=lambda inputs: inputs.mean((1, 2, 3)) > 0.6)
    simulation = ensemble([*clients[:2], white], backend, num_prompts=3)
    with_ = simulation.states(4)
    assert np.isnan(stored_answers(simulation, "white")).all()
    assert not simulation.pool.unusable
    for a, b in zip(without, with_, strict=True):
        assert np.array_equal(a.parameters["prompt"], b.parameters["prompt"])


@pytest.mark.parametrize("before", [0, 1])
def test_a_client_without_an_answer_to_any_candidate_leaves_the_choice_to_the_others(
    ensemble, spied, make_backend, clients, white, before
):
    down = []
    backend = make_backend(fails=lambda inputs: (inputs.mean((1, 2, 3)) > 0.6) & bool(down))
    simulation = ensemble([*clients[:2], white], backend, population=60, num_prompts=2)
    state, send = simulation.states(before)[-1], simulation.engine.send
    start = asked_again(backend, prompts_of(state)[0], white)

    def failing(call, clients, on_dropped=None):  # the answers to the start come with the first round
        down[:] = [True] * (call.handler != "catch_up")
        return iter(list(send(call, clients, on_dropped)))

    simulation.engine.send = failing
    exchanges = spied(simulation)
    after, _ = simulation.round(state)
    if not before:
        assert np.array_equal(stored_answers(simulation, "white")[0], start)
    ((message, replies),) = [(call.message, replies) for call, replies in exchanges if call.handler == "train"]
    first, second, third = (reply.payload[STATISTICS] for reply in replies)
    assert not np.nan_to_num(third[-60:]).any()
    assert np.isfinite(third[:-60]).all()
    gains = LinearReadout(backend.info, backend.info.classes).candidate_gains(first + second, 1)
    best = int(message.parameters["tried"][np.argmax(gains)])
    prompts = np.concatenate([prompts_of(state), candidates_of(simulation, state)])
    assert np.array_equal(prompts_of(after)[-1], prompts[best])
    assert best > 1  # neither what was there nor the first of the candidates


def test_single_failures_do_not_stop_the_search(ensemble, rounds, make_backend, clients):
    backend = make_backend(fails=lambda inputs: inputs.sum((1, 2, 3)) % 0.1 < 0.01)
    simulation = ensemble(clients, backend, num_prompts=3)
    _, losses = rounds(simulation, 5)
    assert np.isnan(stored_answers(simulation, "client-002")).any()
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("prompt", "readout"), [(PROMPT, Identity), (PROMPT, Prototypes), (NoPrompt((8, 8)), LinearReadout)]
)
def test_it_wants_a_prompt_and_a_linear_readout(make, fake_backend, prompt, readout):
    with pytest.raises(ConfigError, match=r"^[^.\n]*for a linear readout: give it both, or use --algorithm fedavg$"):
        make(fake_backend, Ensemble, prompt=prompt, readout=readout)

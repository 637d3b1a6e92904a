"""What `newton` does beside the contract that all algorithms keep."""

import numpy as np
import pytest

from fedbbpt.algorithms.newton import MOST_POINTS, Newton
from fedbbpt.engines import TUNED
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.none import NoPrompt
from fedbbpt.readouts.identity import Identity
from fedbbpt.types import Dataset


@pytest.fixture
def newton(simulate, fake_backend):
    """`newton(clients, **options)`: rounds of it on the toy backend."""
    return lambda clients, **options: simulate(clients, fake_backend, Newton, **options)


def run(simulation, rounds):
    state, losses = simulation.algorithm.init(), []
    for _ in range(rounds):
        state, report = simulation.round(state)
        losses.append(report.loss)
    return state, losses


def test_the_training_loss_never_rises_without_a_trained_readout(newton, clients):
    _, losses = run(newton(clients, readout=Identity), 8)
    assert (np.diff(losses) <= 1e-6).all()
    assert losses[-1] < losses[0]


def test_ten_clients_and_one_take_the_same_steps(newton, clients, fake_backend):
    """The sums are those of one party, up to their seven digits."""
    parts = [(client.train.inputs, client.train.labels) for client in clients]
    together = Dataset(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    one = [type(clients[0])("all", together, clients[0].validation, clients[0].test)]
    apart, central = (run(newton(group, readout=Identity), 4)[0] for group in (clients, one))
    np.testing.assert_allclose(apart.parameters["prompt"], central.parameters["prompt"], atol=1e-3)


def test_clients_remember_a_bounded_number_of_answers(newton, clients):
    simulation = newton(clients, num_candidates=40)
    state, _ = run(simulation, 4)
    answers = simulation.memories[clients[0].id].part(TUNED)["answers"]
    assert len(answers) == len(state.opt_state["points"]) == MOST_POINTS


def test_many_dimensions_are_searched_in_a_growing_span(newton, clients):
    prompt = Dct((8, 8), frequencies=6)  # 3 · 6² dimensions
    simulation = newton(clients, prompt=prompt, num_candidates=4)
    state, counts = simulation.algorithm.init(), []
    for _ in range(5):
        state, _ = simulation.round(state)
        counts.append(int((np.abs(state.opt_state["points"]).sum(0) > 0).sum()))
    assert counts[0] == 4
    assert counts == sorted(counts)
    assert counts[-1] >= 12


def test_more_candidates_than_dimensions_look_both_ways(newton, clients):
    simulation = newton(clients, prompt=Dct((8, 8), frequencies=1), num_candidates=8)
    state, _ = simulation.round(simulation.algorithm.init())
    points = state.opt_state["points"][1:7]
    np.testing.assert_allclose(points[:3], -points[3:])


def test_a_prompt_of_real_numbers_is_needed(newton, clients):
    with pytest.raises(ConfigError, match="real numbers"):
        newton(clients, prompt=NoPrompt((8, 8)))

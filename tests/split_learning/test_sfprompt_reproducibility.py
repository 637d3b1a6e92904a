"""SFPrompt's randomness: the same seed gives the same bits, and rounds draw anew."""

from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.algorithms import ClientSizes

MODES = pytest.mark.parametrize("trainable", ["prompt", "linear", "full"])


@MODES
def test_same_seed_same_bits_and_a_resumed_run_too(simulate, clients, rounds, same, trainable):
    options = {"trainable": trainable, "batch_size": 3, "participation": 0.7}
    states, losses = rounds(simulate(clients, **options), 4)
    again, losses_again = rounds(simulate(clients, **options), 4)
    resumed, _ = rounds(simulate(clients, **options), 2, states[2])
    assert losses == losses_again
    assert all(same(a.parameters, b.parameters) for a, b in zip(states, again, strict=True))
    assert same(resumed[-1].parameters, states[-1].parameters)
    assert all(values.dtype == np.float32 for values in states[-1].parameters.values())
    other, _ = rounds(simulate(clients, seed=6, **options), 1)
    assert not same(other[-1].parameters, states[1].parameters)


@MODES
def test_rounds_in_which_only_bytes_travel_give_the_same_bits(simulate, clients, rounds, same, trainable):
    states, losses = rounds(simulate(clients, trainable=trainable), 3)
    rebuilt, rebuilt_losses = rounds(simulate(clients, trainable=trainable, rebuild=True), 3)
    assert same(states[-1].parameters, rebuilt[-1].parameters)
    assert losses == rebuilt_losses


def test_rounds_draw_anew(simulate, clients, same):
    simulation = simulate(clients, batch_size=3)
    start = simulation.algorithm.init()
    now, later = (simulation.round(replace(start, round=round_))[0] for round_ in (0, 1))
    assert not same(now.parameters, later.parameters)
    assert same(start.parameters, simulation.algorithm.init().parameters)


def test_other_data_than_a_clients_training_samples_do_not_matter(simulate, clients, same):
    swapped = [replace(client, validation=client.test, test=client.validation) for client in clients]
    one, other = (simulate(them).states(2)[-1] for them in (clients, swapped))
    assert same(one.parameters, other.parameters)


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 20), ({"participation": 0.29}, 6), ({"participation": 0.001}, 1), ({"clients_per_round": 3}, 3)],
)
def test_the_sample_is_in_the_clients_order(method, options, count):
    algorithm = method(**options)
    everybody = [ClientSizes(f"client-{i:03d}", 1, 1, 1) for i in range(20)]
    chosen = [client.id for client in algorithm.sample(algorithm.init(), everybody)]
    assert chosen == sorted(set(chosen))
    assert len(chosen) == count

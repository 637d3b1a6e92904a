"""SFPrompt's clients whose updates are not finite."""

from dataclasses import replace

import numpy as np
import pytest

from fedbbpt.engines.serial import Serial
from fedbbpt.errors import ConfigError


def test_divergence_is_an_error_that_says_what_to_do(simulate, clients):
    with pytest.raises(ConfigError, match=r"algorithm\.lr"):
        simulate(clients, lr=1e39).states(5)


def poisoning(*victims):
    """An engine on which all that these clients have changed becomes NaN."""

    class Poisoning(Serial):
        def send(self, call, clients, on_dropped=None):
            replies = super().send(call, clients, on_dropped)
            return (_nan(reply) if client in victims else reply for client, reply in zip(clients, replies, strict=True))

    return Poisoning


def _nan(update):
    return replace(update, payload={part: values * np.float32("nan") for part, values in update.payload.items()})


@pytest.mark.parametrize("trainable", ["prompt", "full"])
def test_a_client_that_sends_nan_is_as_if_it_had_not_been_there(simulate, clients, same, trainable):
    poisoned = simulate(clients, trainable=trainable, engine=poisoning(clients[0].id))
    state = poisoned.states(1)[-1]
    without = simulate(clients[1:], trainable=trainable).states(1)[-1]
    assert poisoned.pool.unusable.keys() == {clients[0].id}
    assert same(state.parameters, without.parameters)


def test_if_nobody_is_left_with_numbers_the_run_has_diverged(simulate, clients):
    with pytest.raises(ConfigError, match="diverged"):
        simulate(clients, engine=poisoning(*(client.id for client in clients))).states(1)


def test_honest_updates_and_scores_have_the_form_of_the_template(simulate, clients):
    simulation = simulate(clients)
    state = simulation.states(1)[-1]
    assert not simulation.pool.unusable
    assert not simulation.evaluate(state, "test").pool.unusable

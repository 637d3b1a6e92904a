"""Noise on the activations that SFPrompt's clients send."""

import pytest

from fedbbpt.errors import ConfigError


def test_noise_is_drawn_anew_and_can_be_repeated(simulate, clients, same):
    options = {"clip_norm": 1.0, "noise_multiplier": 0.3}
    one, again, without, clipped = (
        simulate(clients, **some).states(2)[-1].parameters for some in (options, options, {}, {"clip_norm": 1.0})
    )
    assert same(one, again)
    assert not same(one, clipped)
    assert not same(clipped, without)


def test_noise_hides_what_is_scored_too(simulate, clients):
    quiet, loud = (simulate(clients, clip_norm=1.0, noise_multiplier=noise) for noise in (0.0, 2.0))
    losses = [one.evaluate(one.algorithm.init(), "test").loss for one in (quiet, loud, loud)]
    assert losses[0] != losses[1] == losses[2]


def test_noise_without_a_norm_is_refused(method):
    with pytest.raises(ConfigError, match=r"units of algorithm\.clip_norm"):
        method(noise_multiplier=0.1)

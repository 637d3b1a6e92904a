"""What the contracts of prompts for images and for texts share."""

import numpy as np

from fedbbpt.prompts import Prompt
from fedbbpt.testing.expect import expect
from fedbbpt.types import Floats, Inputs


def thetas(prompt: Prompt, count: int = 3) -> Floats:
    """Parameters (count, d) around the prompt's start."""
    rng = np.random.default_rng(2)
    return np.stack([prompt.init(rng) + rng.normal(size=prompt.dim) for _ in range(count)])


def apply(prompt: Prompt, candidates: Floats, inputs: Inputs) -> Inputs:
    """The prompted inputs, with their features."""
    return prompt.apply(candidates, inputs, prompt.features(inputs))


def expect_start(prompt: Prompt) -> None:
    """`init` gives a float32 vector (dim,) that depends on the generator alone."""
    theta = prompt.init(np.random.default_rng(0))
    expect(theta.shape == (prompt.dim,) and theta.dtype == np.float32, "init gives a float32 vector (dim,)")
    expect(np.array_equal(theta, prompt.init(np.random.default_rng(0))), "init depends on the generator alone")


def expect_features(prompt: Prompt, inputs: Inputs) -> None:
    """Features are float32, a row per input, and depend on that input alone."""
    features, one = prompt.features(inputs), prompt.features(inputs[2:3])
    if features is None or one is None:
        expect(features is one, "all inputs have features, or none has")
        return
    expect(len(features) == len(inputs) and features.dtype == np.float32, "features are float32, a row per input")
    expect(np.allclose(features[2:3], one, atol=1e-5), "features depend on each input alone")

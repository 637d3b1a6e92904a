"""What every registered prompt for images promises."""

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.config.components import build_prompt, load_class, modalities_of, resolve

REGISTERED = registry.names("prompts")
WRAPPING = [name for name in REGISTERED if load_class("prompts", name).wraps]
INSIDE = ["padding", "coordinator", "low-rank"]
ALL = [*(set(REGISTERED) - set(WRAPPING)), *(f"{outer}:{inner}" for outer in WRAPPING for inner in INSIDE)]
NAMES = sorted(name for name in ALL if "image" in modalities_of(name))
OPTIONS = {
    "coordinator": {"encoder": "pixels"},
    "subspace:coordinator": {"encoder": "pixels", "projection": "gaussian"},
    "subspace:padding": {"dim": 64},
    "subspace:low-rank": {"dim": 48},
}
SIZES = [(16, 24), (21, 13), (8, 8)]
pytestmark = pytest.mark.parametrize(("name", "size"), [(name, size) for name in NAMES for size in SIZES])


def make(name, size):
    return build_prompt(resolve("prompts", name, OPTIONS.get(name, {})), size)


def images(count, size):
    pixels = np.random.default_rng(1).integers(0, 256, (count, 3, *size))
    pixels[:, :, : size[0] // 3] = 0  # a black band: the edge of the valid range
    return pixels.astype(np.float32) / np.float32(255)


def thetas(prompt, count=3):
    rng = np.random.default_rng(2)
    return np.stack([prompt.init(rng) + rng.normal(size=prompt.dim) for _ in range(count)])


def apply(prompt, theta, inputs):
    return prompt.apply(theta, inputs, prompt.features(inputs))


def test_initial_parameters_are_a_flat_float32_vector(name, size):
    prompt = make(name, size)
    theta = prompt.init(np.random.default_rng(0))
    assert theta.shape == (prompt.dim,)
    assert theta.dtype == np.float32
    assert np.array_equal(theta, prompt.init(np.random.default_rng(0)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prompted_images_are_valid_images(name, size, dtype):
    prompt = make(name, size)
    prompted = apply(prompt, (20 * thetas(prompt)).astype(dtype), images(4, size))
    assert prompted.shape == (3 * 4, 3, *size)
    assert prompted.dtype == np.float32
    assert prompted.min() >= 0
    assert prompted.max() <= 1


def test_candidates_come_first(name, size):
    prompt, inputs = make(name, size), images(4, size)
    theta = thetas(prompt)
    one_by_one = [apply(prompt, t[None], inputs) for t in theta]
    assert np.allclose(apply(prompt, theta, inputs), np.concatenate(one_by_one), rtol=0, atol=1e-6)


def test_images_do_not_touch_each_other(name, size):
    prompt, inputs = make(name, size), images(4, size)
    theta = thetas(prompt, 1)
    one_by_one = [apply(prompt, theta, inputs[i : i + 1]) for i in range(4)]
    assert np.allclose(apply(prompt, theta, inputs), np.concatenate(one_by_one), rtol=0, atol=1e-6)


def test_features_depend_on_each_image_alone(name, size):
    prompt, inputs = make(name, size), images(4, size)
    features = prompt.features(inputs)
    if features is None:
        assert prompt.features(inputs[:1]) is None
    else:
        assert len(features) == 4
        assert features.dtype == np.float32
        assert np.allclose(features[2:3], prompt.features(inputs[2:3]), atol=1e-5)


def test_same_in_same_bits_out_and_nothing_changed(name, size):
    prompt, inputs = make(name, size), images(4, size)
    theta, features = thetas(prompt), prompt.features(inputs)
    before = theta.copy(), inputs.copy(), None if features is None else features.copy()
    first = prompt.apply(theta, inputs, features)
    kept = first.copy()
    assert np.array_equal(prompt.apply(theta, inputs, features), kept)
    assert np.array_equal(first, kept)
    assert np.array_equal(theta, before[0])
    assert np.array_equal(inputs, before[1])
    assert features is before[2] or np.array_equal(features, before[2])


def test_prompted_images_are_the_callers_own(name, size):
    prompt, inputs = make(name, size), images(2, size)
    before = inputs.copy()
    apply(prompt, prompt.init(np.random.default_rng(0))[None], inputs)[:] = 0.5
    assert np.array_equal(inputs, before)


def test_precision_of_theta_hardly_matters(name, size):
    prompt, inputs = make(name, size), images(2, size)
    theta = thetas(prompt)
    single = apply(prompt, theta.astype(np.float32), inputs)
    assert np.allclose(single, apply(prompt, theta, inputs), rtol=0, atol=1e-4)


def test_parameters_change_the_picture_and_the_lack_of_them_does_not(name, size):
    prompt, inputs = make(name, size), images(2, size)
    start = apply(prompt, prompt.init(np.random.default_rng(0))[None], inputs)
    change = np.abs(apply(prompt, 3 * thetas(prompt, 1), inputs) - start).mean()
    assert change > 0.01 if prompt.dim else change == 0


def test_training_starts_from_the_picture_itself(name, size):
    prompt, inputs = make(name, size), images(3, size)
    prompted = apply(prompt, prompt.init(np.random.default_rng(0))[None], inputs)
    assert np.array_equal(prompted, inputs) != (name == "reprogram")  # which has to make room for its border


def test_modalities_are_known_before_it_is_built(name, size):
    assert make(name, size).modalities == modalities_of(name)


def test_perturbations_survive_the_8_bits_of_a_remote_model(name, size):
    prompt, inputs = make(name, size), images(4, size)
    rng = np.random.default_rng(3)
    signs = rng.choice([-1.0, 1.0], (4, prompt.dim))
    start = prompt.init(rng)
    prompted = apply(prompt, np.concatenate([start[None], start + 0.5 * signs, start + 5 * signs]), inputs)
    assert np.abs(eight_bits(prompted) / np.float32(255) - prompted).max() < 1 / 510 + 1e-6
    before, small, large = np.split(prompted, [len(inputs), 5 * len(inputs)])
    small, large = (moved.reshape(4, *before.shape) for moved in (small, large))
    touched = (large != before).any((0, 1))  # (3, h, w)
    changed = (eight_bits(small) != eight_bits(before))[:, :, touched]
    assert changed.mean() > 0.2 if prompt.dim else not touched.any()


def eight_bits(pictures):
    return np.round(pictures * 255).astype(np.uint8)

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.encoders import Pixels


def images(count, size):
    return np.random.default_rng(0).uniform(size=(count, 3, *size)).astype(np.float32)


@pytest.fixture(scope="module", params=registry.names("encoders"))
def encoder(request):
    return registry.load("encoders", request.param)()


@pytest.fixture(scope="module")
def inputs():
    """Two images, the first again, and a grey one."""
    one, other = images(2, (40, 24))
    return np.stack([one, other, one, np.full_like(one, 0.5)])


@pytest.fixture(scope="module")
def features(encoder, inputs):
    return encoder.features(inputs)


def test_features_are_standardised_by_image(encoder, features):
    assert features.shape == (4, encoder.dim)
    assert features.dtype == np.float32
    assert np.allclose(features[:3].mean(1), 0, atol=1e-5)
    assert np.allclose(features[:3].std(1), 1, atol=1e-3)


def test_same_images_same_bits_and_nothing_changed(encoder, inputs, features):
    before = inputs.copy()
    assert np.array_equal(encoder.features(inputs), features)
    assert np.array_equal(inputs, before)


def test_images_do_not_touch_each_other(encoder, inputs, features):
    assert np.allclose(encoder.features(inputs[1:2]), features[1:2], atol=1e-4)
    assert np.allclose(features[0], features[2], atol=1e-4)


def test_different_images_have_different_features(features):
    assert np.abs(features[0] - features[1]).max() > 0.05


def test_uniform_images_have_finite_features(features):
    assert np.isfinite(features[3]).all()


def test_pixels_average_equal_blocks():
    inputs = images(2, (32, 48))
    blocks = inputs.reshape(2, 3, 16, 2, 16, 3).mean((3, 5)).reshape(2, -1)
    centred = blocks - blocks.mean(1, keepdims=True)
    assert np.allclose(Pixels().features(inputs), centred / centred.std(1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (17, 23), (1, 1)])
def test_pixels_of_any_size_keep_their_mean(size):
    inputs = np.concatenate([np.zeros((1, 1, *size)), np.ones((1, 2, *size))], 1).astype(np.float32)
    features = Pixels().features(inputs).reshape(3, -1)
    assert np.allclose(features[0], -np.sqrt(2), atol=1e-4)
    assert np.allclose(features[1:], np.sqrt(0.5), atol=1e-4)

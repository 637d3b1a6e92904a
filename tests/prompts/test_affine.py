import numpy as np
import pytest
from scipy.ndimage import affine_transform

from fedbbpt.prompts.affine import Affine

SIZE = (12, 16)
PLACES = {"gain": slice(3), "offset": slice(3, 6), "matrix": slice(6, 10), "shift": slice(10, 12), "contrast": 12}


@pytest.fixture
def inputs():
    return np.random.default_rng(0).uniform(0.1, 0.4, (2, 3, *SIZE)).astype(np.float32)


def prompted(inputs, epsilon=0.1, size=SIZE, **parts):
    theta = np.zeros((1, 13))
    for part, value in parts.items():
        theta[0, PLACES[part]] = value
    return Affine(size, epsilon=epsilon).apply(theta, inputs, None)


def test_gain_multiplies_its_channel(inputs):
    out = prompted(inputs, gain=[np.log(2) / 0.1, 0, 0])
    assert np.allclose(out[:, 0], 2 * inputs[:, 0], atol=1e-6)
    assert np.array_equal(out[:, 1:], inputs[:, 1:])


def test_offset_is_added_to_its_channel(inputs):
    out = prompted(inputs, offset=[0, 3, 0])
    assert np.allclose(out[:, 1], inputs[:, 1] + 0.3, atol=1e-6)
    assert np.array_equal(out[:, ::2], inputs[:, ::2])


def test_gain_comes_before_offset(inputs):
    out = prompted(inputs, gain=np.log(1.5) / 0.1, offset=-1)
    assert np.allclose(out, np.clip(1.5 * inputs - 0.1, 0, 1), atol=1e-6)


def test_contrast_is_about_mid_grey_and_comes_before_gain_and_offset(inputs):
    out = prompted(inputs, contrast=np.log(1.2) / 0.1, gain=np.log(1.5) / 0.1, offset=-0.5)
    assert np.allclose(out, np.clip(1.5 * (1.2 * (inputs - 0.5) + 0.5) - 0.05, 0, 1), atol=1e-6)
    assert np.allclose(prompted(np.full_like(inputs, 0.5), contrast=9), 0.5, atol=1e-6)


def test_contrast_comes_after_the_warp_and_fades_what_lies_outside_too(inputs):
    out = prompted(inputs, shift=[2 / 0.1, 0], contrast=np.log(0.5) / 0.1)  # wholly out of view
    assert np.allclose(out, 0.25, atol=1e-6)


def test_shift_by_whole_pixels_leaves_black_behind(inputs):
    out = prompted(inputs, shift=[3 * 2 / 16 / 0.1, -2 * 2 / 12 / 0.1])  # 3 to the right, 2 up in the original
    assert np.allclose(out[:, :, 2:, :-3], inputs[:, :, :-2, 3:], atol=1e-6)
    assert np.allclose(out[:, :, :2], 0, atol=1e-6)
    assert np.allclose(out[:, :, :, -3:], 0, atol=1e-6)


def test_offset_also_lights_what_lies_outside(inputs):
    out = prompted(inputs, shift=[2 / 0.1, 0], offset=2)  # wholly out of view
    assert np.allclose(out, 0.2, atol=1e-6)


def test_mirror_is_exact(inputs):
    out = prompted(inputs, epsilon=1.0, matrix=[-2, 0, 0, 0])  # u ↦ −u on the horizontal
    assert np.allclose(out, inputs[..., ::-1], atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_warp_is_bilinear_interpolation_with_black_outside(inputs, seed):
    rng = np.random.default_rng(seed)
    matrix, shift = rng.normal(0, 3, (2, 2)), rng.normal(0, 3, 2)
    out = prompted(inputs, matrix=matrix.ravel(), shift=shift)
    half = np.array(SIZE) / 2  # pixels a unit of u, for rows and columns
    centre = half - 0.5
    rows_first = np.eye(2) + 0.1 * matrix[::-1, ::-1]
    linear = rows_first * half[:, None] / half
    offset = centre + half * 0.1 * shift[::-1] - linear @ centre
    for image, expected in zip(out.reshape(-1, *SIZE), inputs.reshape(-1, *SIZE), strict=True):
        warped = affine_transform(expected, linear, offset, order=1, mode="grid-constant")
        assert np.allclose(image, warped, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (7, 11), (224, 160), (97, 101)])
def test_zeros_give_exactly_the_image_at_any_size(size):
    inputs = np.random.default_rng(1).integers(0, 2, (1, 3, *size)).astype(np.float32)
    assert np.array_equal(prompted(inputs, size=size), inputs)


@pytest.mark.parametrize("part", ["gain", "offset", "matrix", "shift", "contrast"])
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_candidates_gone_astray_still_give_valid_images(inputs, part, value):
    inputs[0, 0, 0, 0] = 0.0
    out = prompted(inputs, **{part: value})
    both = prompted(inputs, **({"gain": value} | {part: value, "contrast": value}))
    assert ((both >= 0) & (both <= 1)).all()
    assert ((out >= 0) & (out <= 1)).all()


@pytest.mark.parametrize("shift", [(-9, 0), (9, 0), (0, -9), (0, 9), (9, 9), (-9, -9), (1.0, 1.0)])
def test_nothing_is_read_from_outside_the_memory_of_the_image(shift):
    Affine(SIZE)._warp(np.array([0.0, 0, 0, 0, *shift]).tobytes()).check_format(full_check=True)

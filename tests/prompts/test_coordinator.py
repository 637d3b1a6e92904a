import numpy as np
import pytest
import torch
from torch.nn import functional

from fedbbpt.prompts.coordinator import UNIT, Coordinator

WIDTHS = [(32, 64, 64), (64, 64, 32), (32, 32, 32), (32, 32, 16)]  # in, grouped up-sampling, out


def make(size, **options):
    return Coordinator(size, encoder="pixels", **options)


def images(count, size):
    return np.random.default_rng(0).uniform(0.2, 0.8, (count, 3, *size)).astype(np.float32)


def drawn_by_torch(theta, features, up):
    """The decoder in torch's own layers, reading θ from its start."""
    rest = torch.from_numpy(UNIT * theta)

    def take(*shape):
        nonlocal rest
        count = int(np.prod(shape))
        part, rest = rest[:count].reshape(shape), rest[count:]
        return part

    trigger = take(1568 - features.shape[1])
    seed = [torch.from_numpy(features), trigger.expand(len(features), -1)]
    x = torch.cat(seed, 1).reshape(-1, 32, 7, 7)
    for (inputs, hidden, outputs), factor in zip(WIDTHS, up[:4], strict=True):
        kernel, bias = take(inputs, hidden // inputs, factor, factor), take(hidden)
        x = functional.conv_transpose2d(x, kernel, bias, stride=factor, groups=inputs)
        x = functional.conv2d(x, take(outputs, hidden, 1, 1))
        x = functional.gelu(functional.group_norm(x, 8, take(outputs), take(outputs)))
    last = take(3, up[4], up[4], 16).permute(3, 0, 1, 2)
    x = functional.conv_transpose2d(x, last, stride=up[4])
    assert len(rest) == 0
    return x


def test_number_of_parameters_at_the_papers_size():
    assert make((224, 224)).dim == 9920


@pytest.mark.parametrize(
    ("size", "up"), [((16, 24), [2, 1, 1, 1, 1]), ((60, 57), [2, 2, 2, 1, 1]), ((224, 224), [2, 2, 2, 2, 2])]
)
def test_arithmetic_is_that_of_torchs_layers(size, up):
    prompt, inputs = make(size, epsilon=0.3), images(2, size)
    rng = np.random.default_rng(1)
    theta = prompt.init(rng) + rng.normal(0, 0.1 / UNIT, prompt.dim).astype(np.float32)
    features = prompt.features(inputs)
    drawing = drawn_by_torch(theta, features, up)
    stretched = functional.interpolate(drawing, size, mode="bilinear", align_corners=False)
    expected = (torch.from_numpy(inputs) + 0.3 * stretched).clamp(0, 1).numpy()
    assert np.allclose(prompt.apply(theta[None], inputs, features), expected, atol=2e-5)


def test_prompt_depends_on_the_image():
    prompt, inputs = make((16, 24)), images(2, (16, 24))
    rng = np.random.default_rng(0)
    theta = prompt.init(rng) + rng.normal(0, 0.1 / UNIT, prompt.dim)
    added = prompt.apply(theta[None], inputs, prompt.features(inputs)) - inputs
    assert np.abs(added[0] - added[1]).max() > 1e-3


def test_features_are_at_most_half_of_the_seed():
    assert make((16, 24)).features(images(3, (16, 24))).shape == (3, 768)


def test_without_features_it_says_what_is_missing():
    prompt = make((16, 24))
    with pytest.raises(RuntimeError, match="features"):
        prompt.apply(np.zeros((1, prompt.dim)), images(1, (16, 24)), None)


def test_initial_norms_pass_through():
    prompt = make((16, 24))
    theta = UNIT * prompt.init(np.random.default_rng(0))
    trigger = theta[: 1568 - 768]
    assert trigger.min() >= 0
    assert trigger.max() < 0.1
    channels = 64 + 32 + 32 + 16
    assert np.count_nonzero(theta == 1) == channels
    assert np.count_nonzero(theta == 0) == channels + 3 * 16  # and the drawing layer

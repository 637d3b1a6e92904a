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
        x = functional.gelu(functional.group_norm(x, 8, take(outputs), take(outputs)), approximate="tanh")
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
    assert np.count_nonzero(theta == 0) == channels + 3 * 16  # and the last layer


@pytest.mark.parametrize(("size", "up"), [((16, 24), 1), ((224, 224), 2)])
def test_a_random_drawing_layer_spreads_as_torchs_own(size, up):
    rng = np.random.default_rng
    zero, random = (make(size, decoder_init=way).init(rng(0)) for way in ("zero", "random"))
    count = 3 * up**2 * 16
    torch.manual_seed(0)
    theirs = float(torch.nn.ConvTranspose2d(16, 3, up, up, bias=False).weight.detach().abs().max())
    assert np.array_equal(zero[:-count], random[:-count])
    assert UNIT * np.abs(random[-count:]).max() == pytest.approx(theirs, rel=0.1)
    assert np.abs(random[-count:].mean()) < 0.3 * np.abs(random[-count:]).max()


def test_a_random_drawing_layer_draws_from_the_start():
    prompt, inputs = make((16, 24), decoder_init="random"), images(2, (16, 24))
    theta = prompt.init(np.random.default_rng(0))
    assert np.abs(prompt.apply(theta[None], inputs, prompt.features(inputs)) - inputs).mean() > 0.01


def test_gains_of_the_paper_take_the_same_step_of_the_weights():
    """A step of SPSA on the weights with the paper's gains, and on θ with those that the docstring gives."""
    rng = np.random.default_rng(0)
    weights, signs, slope = rng.normal(size=(3, 5))
    signs = np.sign(signs)
    a, c = 0.01, 0.005

    def loss(w):
        return np.sin(w) @ slope

    def step(x, loss, a, c):
        return -a * (loss(x + c * signs) - loss(x - c * signs)) / (2 * c) / signs

    theirs = step(weights, loss, a, c)
    ours = step(weights / UNIT, lambda theta: loss(UNIT * theta), a / UNIT**2, c / UNIT)
    assert np.allclose(UNIT * ours, theirs)
    assert (a / UNIT**2, 0.01 / UNIT) == pytest.approx((4, 0.2))
    assert "a = c = .01 become a = 4, c = 0.2" in Coordinator.__doc__

"""BlackVIP's prompt generator: a frozen encoder reads the image, and a small decoder generates a prompt for it.

Oh et al. 2023, arXiv 2303.14773, section 4.1. Differences: GroupNorm for BatchNorm, whose running statistics would be
neither perturbed nor averaged; GELU by its tanh formula (at most .0005 off, and far faster in numpy); as many of the
five up-sampling steps as fit into the input size; unless `decoder_init` says otherwise, the last layer starts at 0, so
that training starts from the image as it is; θ counts in units of `UNIT`, so that an optimizer's steps mean about the
same here as for other prompts; ε counts in pixel values from 0 to 1, in the authors' code in values that were divided
by the channel's standard deviation, about 0.27.
"""

from typing import Literal, NamedTuple

import numpy as np
from pydantic import PositiveFloat

from fedbbpt import registry
from fedbbpt.backend import Modality
from fedbbpt.data.resize import bilinear
from fedbbpt.prompts import Prompt
from fedbbpt.types import Float32, Floats

GRID = 7  # the decoder's seed is 32 × 7 × 7 numbers: the encoder's features, then the trigger
SEED = 32 * GRID * GRID
GROUPS = 8  # of the normalisation
UNIT = 0.05  # of every weight
TOGETHER = 8  # images drawn at once: their maps stay in the processor's cache


class Stage(NamedTuple):
    """A transposed convolution (kernel = stride = `up`), a 1×1 convolution to `outputs`, GroupNorm, GELU."""

    inputs: int
    hidden: int  # multiple of `inputs`: grouped by input channel
    outputs: int
    up: int


class Coordinator(Prompt):
    """BlackVIP's generator: a frozen encoder and a small decoder make a prompt for each image.

    clip(x + ε · decoder([encoder(x), trigger])).

    θ = the trigger, then for each stage the up-sampling kernel and bias, the 1×1 kernel and the norm's scale and shift,
    and the last layer 16 → 3. At 224 × 224 pixels and 768 features: 9,920 numbers.

    The paper's gains are those of the weights, of which one unit of θ is 0.05: its a is a / 0.05² here, its c is
    c / 0.05 (a = c = .01 become a = 4, c = 0.2).

    Args:
        size: height and width of the images in pixels.
        epsilon: ε, the change of a pixel per unit of the decoder's output; pixels are in [0, 1].
        encoder: name of the frozen encoder.
        decoder_init: whether training starts from the image itself ("zero") or from random weights ("random").
    """

    modalities: tuple[Modality, ...] = ("image",)

    def __init__(
        self,
        size: tuple[int, int],
        /,
        *,
        epsilon: PositiveFloat = 0.3,
        encoder: str = "embedded",
        decoder_init: Literal["zero", "random"] = "zero",
    ) -> None:
        self._size = size
        self._epsilon = epsilon
        self._decoder_init = decoder_init
        self._encoder = registry.load("encoders", encoder)()
        # Trigger of at least half the seed, as in the paper (800 of 1,568); longer features are cut.
        self._features = min(self._encoder.dim, SEED // 2)
        fitting = int(np.clip(np.floor(np.log2(min(size) / GRID)), 0, 5))
        up = [2] * fitting + [1] * (5 - fitting)
        widths = [(32, 64, 64), (64, 64, 32), (32, 32, 32), (32, 32, 16)]
        self._stages = [Stage(*width, factor) for width, factor in zip(widths, up, strict=False)]
        self._last_up = up[4]
        self._shapes: list[tuple[int, ...]] = [(SEED - self._features,)]
        for s in self._stages:
            self._shapes += [(s.hidden, s.up**2), (s.hidden,), (s.outputs, s.hidden), (s.outputs,), (s.outputs,)]
        self._shapes += [(3 * self._last_up**2, 16)]
        self.dim = sum(int(np.prod(shape)) for shape in self._shapes)

    def init(self, rng: np.random.Generator) -> Float32:
        """Trigger uniform on [0, 0.1); kernels and biases uniform on ±1/√fan-in; scales 1, shifts 0.

        The last layer is 0, or with decoder_init="random" uniform on ±1/√fan-in too, as in the authors' code.
        """
        parts = [rng.uniform(0, 0.1, self._shapes[0])]
        for s in self._stages:
            fan = np.sqrt(s.hidden // s.inputs * s.up**2)
            parts += [rng.uniform(-1, 1, (s.hidden, s.up**2)) / fan, rng.uniform(-1, 1, s.hidden) / fan]
            parts += [rng.uniform(-1, 1, (s.outputs, s.hidden)) / np.sqrt(s.hidden)]
            parts += [np.ones(s.outputs), np.zeros(s.outputs)]
        last = rng.uniform(-1, 1, self._shapes[-1]) / np.sqrt(self._shapes[-1][0])  # fan-in as torch counts it: 3 · up²
        parts += [last if self._decoder_init == "random" else np.zeros(self._shapes[-1])]
        return (np.concatenate([part.ravel() for part in parts]) / UNIT).astype(np.float32)

    def features(self, inputs: Float32) -> Float32:
        """The frozen encoder's features (b, D), at most half of the decoder's seed."""
        features: Float32 = self._encoder.features(inputs)
        return features[:, : self._features]

    def apply(self, theta: Floats, inputs: Float32, features: Float32 | None) -> Float32:
        """See `Prompt`; `features` as `features` gives them."""
        if features is None:
            raise RuntimeError("the coordinator needs the features of the images that it draws for")
        some = [features[i : i + TOGETHER] for i in range(0, len(features), TOGETHER)]
        weights = UNIT * np.asarray(theta, np.float32)
        out = np.concatenate([self._draw(w, images) for w in weights for images in some])  # (n·b, 3, g, g)
        prompted = np.float32(self._epsilon) * _stretch(out, self._size)
        prompted.reshape(len(theta), *inputs.shape)[...] += inputs
        return np.clip(prompted, 0, 1, out=prompted)

    def _draw(self, theta: Float32, features: Float32) -> Float32:
        """One candidate's prompts for all images: (b, 3, g, g)."""
        ends = np.cumsum([np.prod(shape) for shape in self._shapes])[:-1]
        parts = [p.reshape(s) for p, s in zip(np.split(theta, ends), self._shapes, strict=True)]
        trigger = np.broadcast_to(parts[0], (len(features), len(parts[0])))
        x = np.concatenate([features, trigger], 1).reshape(-1, 32, GRID, GRID)
        for stage, i in zip(self._stages, range(1, len(parts) - 1, 5), strict=True):
            kernel, bias, mix, scale, shift = parts[i : i + 5]
            x = np.repeat(x, stage.hidden // stage.inputs, axis=1)
            x = _spread(x[:, :, None] * kernel[:, :, None, None], stage.up) + bias[:, None, None]
            x = _gelu(_group_norm(_mix(mix, x)) * scale[:, None, None] + shift[:, None, None])
        b, _, h, w = x.shape
        return _spread(_mix(parts[-1], x).reshape(b, 3, self._last_up**2, h, w), self._last_up)


def _mix(matrix: Float32, x: Float32) -> Float32:
    """1×1 convolution: matrix (o, c), x (b, c, h, w) -> (b, o, h, w)."""
    b, c, h, w = x.shape
    return (matrix @ x.reshape(b, c, h * w)).reshape(b, -1, h, w)


def _spread(x: Float32, up: int) -> Float32:
    """(b, c, up², h, w) -> (b, c, h·up, w·up): every pixel becomes a tile, as a kernel of the stride's size does."""
    b, c, _, h, w = x.shape
    return x.reshape(b, c, up, up, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(b, c, h * up, w * up)


def _group_norm(x: Float32, eps: float = 1e-5) -> Float32:
    b, c, h, w = x.shape
    groups = x.reshape(b, GROUPS, -1)
    mean, variance = groups.mean(2, keepdims=True), groups.var(2, keepdims=True)
    normed: Float32 = (groups - mean) / np.sqrt(variance + np.float32(eps))
    return normed.reshape(b, c, h, w)


def _gelu(x: Float32) -> Float32:
    """Hendrycks & Gimpel 2016, arXiv 1606.08415, section 2: the approximation by tanh."""
    inner = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)
    curve: Float32 = np.float32(0.5) * x * (1 + np.tanh(inner))
    return curve


def _stretch(x: Float32, size: tuple[int, int]) -> Float32:
    """Bilinear resize of (m, 3, g, g) to (m, 3, h, w), as two small matrix products."""
    rows, columns = (bilinear(x.shape[axis], size[axis - 2]) for axis in (2, 3))
    stretched: Float32 = np.matmul(np.matmul(rows, x), columns.T, dtype=np.float32)
    return stretched

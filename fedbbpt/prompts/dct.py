"""A low-frequency picture added to the image: the lowest cosine frequencies of each channel."""

import numpy as np
from pydantic import PositiveFloat, PositiveInt
from scipy.fft import idct

from fedbbpt.backend import Modality
from fedbbpt.errors import ConfigError
from fedbbpt.prompts import Prompt, add
from fedbbpt.types import Float32, Floats


class Dct(Prompt):
    """A smooth picture added to the image: its lowest cosine frequencies.

    clip(x + ε · p), p the inverse cosine transform (type II) of θ, `frequencies`² coefficients per channel. θ = 0
    is the image as it is.

    The basis is scaled so that random signs for all of θ, as SPSA tries them, move a pixel by `epsilon` (ε, root mean
    square).

    >>> import numpy as np
    >>> prompt = Dct((8, 8), frequencies=2)
    >>> prompt.dim
    12
    >>> images = np.full((5, 3, 8, 8), 0.5, np.float32)
    >>> candidates = np.random.default_rng(1).normal(size=(4, prompt.dim))
    >>> prompt.apply(candidates, images, None).shape  # each of 5 images under each of 4 candidates
    (20, 3, 8, 8)
    """

    modalities: tuple[Modality, ...] = ("image",)

    def __init__(self, size: tuple[int, int], /, *, epsilon: PositiveFloat = 0.1, frequencies: PositiveInt = 6) -> None:
        if frequencies > min(size):
            raise ConfigError(f"prompt 'dct': {frequencies} frequencies do not fit into {size[0]}×{size[1]} pixels")
        self.dim = 3 * frequencies**2
        self._shape = (3, frequencies, frequencies)
        self._epsilon = epsilon
        self._rows, self._columns = (_basis(n, frequencies) for n in size)  # (f, h), (f, w)

    def apply(self, theta: Floats, inputs: Float32, features: Float32 | None) -> Float32:
        """See `Prompt`."""
        coefficients = theta.reshape(-1, *self._shape)
        pictures = self._epsilon * (self._rows.T @ coefficients @ self._columns)  # (n, 3, h, w)
        return add(pictures.astype(np.float32), inputs)


def _basis(length: int, frequencies: int) -> Floats:
    basis: Floats = idct(np.eye(frequencies, length), norm="ortho") * np.sqrt(length / frequencies)
    return basis

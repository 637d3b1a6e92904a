"""A picture of low rank added to the image: a few products of a column and a row, each with a colour.

After the low-rank prompts of ZIP (Park et al. 2025, ICLR), U · diag(s) · Vᵀ; here of pixels, not of tokens.
"""

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from fedbbpt.backend import Modality
from fedbbpt.data.resize import bilinear
from fedbbpt.prompts import Prompt, add
from fedbbpt.types import Float32, Floats


class LowRank(Prompt):
    """A picture of low rank added to the image: a few columns times rows, each with a colour.

    clip(x + ε · Σ_r s_r u_r v_rᵀ / √rank).

    θ = U (h', rank), V (w', rank), s (3, rank), a column and a row for all three channels and a number for each. Sides
    longer than `resolution` are drawn on that many points, with linear interpolation between them: 105 numbers by
    default.

    `rank` is the number of columns and rows. Random signs for all of θ move a pixel by `epsilon` (ε, root mean square).
    U and V start at random, since at U = V = s = 0 no single step changes anything; s starts at 0.

    >>> import numpy as np
    >>> prompt = LowRank((64, 64))
    >>> prompt.dim  # 3 · (16 + 16 + 3)
    105
    >>> theta = prompt.init(np.random.default_rng(1))[None]
    >>> images = np.full((2, 3, 64, 64), 0.5, np.float32)
    >>> bool((prompt.apply(theta, images, None) == images).all())  # the start is the images as they are
    True
    """

    modalities: tuple[Modality, ...] = ("image",)

    def __init__(
        self,
        size: tuple[int, int],
        /,
        *,
        epsilon: PositiveFloat = 0.1,
        rank: PositiveInt = 3,
        resolution: PositiveInt = 16,
    ) -> None:
        self._rows, self._columns = (_curves(min(n, resolution), n) for n in size)  # (h, h'), (w, w')
        self._shapes = [(self._rows.shape[1], rank), (self._columns.shape[1], rank), (3, rank)]
        self.dim = sum(a * b for a, b in self._shapes)
        self._scale = epsilon / np.sqrt(rank)

    def init(self, rng: np.random.Generator) -> Float32:
        """U and V standard normal, s zeros: the image as it is."""
        drawn = self.dim - 3 * self._shapes[2][1]
        return np.concatenate([rng.standard_normal(drawn), np.zeros(self.dim - drawn)]).astype(np.float32)

    def apply(self, theta: Floats, inputs: Float32, features: Float32 | None) -> Float32:
        """See `Prompt`."""
        ends = np.cumsum([a * b for a, b in self._shapes])[:-1]
        u, v, s = (p.reshape(-1, *shape) for p, shape in zip(np.split(theta, ends, 1), self._shapes, strict=True))
        u, v = self._rows @ u, self._columns @ v  # (n, h, rank), (n, w, rank)
        pictures = self._scale * ((s[:, :, None] * u[:, None]) @ v[:, None].swapaxes(2, 3))  # (n, 3, h, w)
        return add(pictures.astype(np.float32), inputs)


def _curves(points: int, length: int) -> Floats:
    """Linear interpolation (length, points), scaled so that random signs keep their root mean square."""
    curves = bilinear(points, length)
    scaled: Floats = curves * np.sqrt(length / (curves**2).sum())
    return scaled

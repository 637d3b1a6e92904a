"""Another prompt, tuned in a fixed random subspace only (intrinsic dimension: Li et al. 2018, arXiv 1804.08838)."""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt

from fedbbpt.errors import ConfigError
from fedbbpt.prompts import Prompt
from fedbbpt.types import Float32, Floats, Inputs, Size

Projection = Callable[[Float32], Float32]  # (n, d) -> (n, D)


class Subspace(Prompt):
    """Another prompt through a fixed random projection: fewer numbers to tune (subspace:NAME).

    θ of the inner prompt = θ₀ + P z, z the `dim` numbers that are tuned, P (D, dim) and θ₀ drawn from `seed`.

    Random signs for all of z move every number of θ by about 1 (root mean square). The `projection` "fastfood" stores
    no matrix; "gaussian" stores P. All users of a z need the same `seed`. The start z = 0 is θ₀.

    >>> import numpy as np
    >>> from fedbbpt.prompts.padding import Padding
    >>> inner = Padding((16, 16), width=0.25)
    >>> inner.dim, Subspace((16, 16), inner, dim=10).dim
    (576, 10)
    """

    wraps = True

    def __init__(
        self,
        size: Size,
        inner: Prompt,
        /,
        *,
        dim: Annotated[int, Field(gt=0, le=500)] = 128,
        seed: NonNegativeInt = 0,
        projection: Literal["gaussian", "fastfood"] = "fastfood",
    ) -> None:
        if dim > inner.dim:
            raise ConfigError(
                f"prompt 'subspace': the inner prompt has only {inner.dim} numbers, fewer than dim={dim}; choose a "
                f"smaller dim, or that prompt without a subspace"
            )
        rng = np.random.default_rng(seed)
        self.dim = dim
        self.modalities = inner.modalities
        self._inner = inner
        self._start = inner.init(rng)
        self._project = (fastfood if projection == "fastfood" else gaussian)(inner.dim, dim, rng)

    def features(self, inputs: Inputs) -> Float32 | None:
        """Those of the prompt inside."""
        return self._inner.features(inputs)

    def apply(self, theta: Floats, inputs: Inputs, features: Float32 | None) -> Inputs:
        """See `Prompt`."""
        return self._inner.apply(self._start + self._project(theta.astype(np.float32)), inputs, features)


def gaussian(rows: int, columns: int, rng: np.random.Generator) -> Projection:
    """Normal numbers, the columns scaled to norm √(rows / columns)."""
    transposed = rng.standard_normal((columns, rows), np.float32)
    transposed *= np.sqrt(rows / columns).astype(np.float32) / np.linalg.norm(transposed, axis=1, keepdims=True)

    def project(z: Float32) -> Float32:
        inside: Float32 = z @ transposed
        return inside

    return project


def fastfood(rows: int, columns: int, rng: np.random.Generator) -> Projection:
    """Nearly the same without its matrix: blocks S H G Π H B under one another (Le et al. 2013, ICML, section 4).

    H is the Hadamard matrix of the next power of two m, B random signs, Π a permutation, G normal numbers, and S gives
    each row the length of m normal numbers; all over √columns.
    """
    m = 1 << (columns - 1).bit_length()
    shape = (-(-rows // m), m)  # blocks
    signs = rng.choice(np.array([-1, 1], np.float32), shape)
    order = rng.permuted(np.broadcast_to(np.arange(m), shape), axis=1)
    gains = rng.standard_normal(shape, np.float32)
    lengths = np.sqrt(rng.chisquare(m, shape)) / np.linalg.norm(gains, axis=1, keepdims=True)
    lengths = (lengths / np.sqrt(m * columns)).astype(np.float32)

    def project(z: Float32) -> Float32:
        padded = np.pad(z, [(0, 0), (0, m - columns)])[:, None]  # (n, 1, m)
        mixed = hadamard(signs * padded)  # (n, blocks, m)
        mixed = gains * np.take_along_axis(mixed, order[None], axis=2)
        inside: Float32 = (lengths * hadamard(mixed)).reshape(len(z), -1)[:, :rows]
        return inside

    return project


def hadamard(x: Float32) -> Float32:
    """H x over the last axis, a power of two long, by sums and differences of halves of halves."""
    step = x.shape[-1] // 2
    while step:
        halves = x.reshape(*x.shape[:-1], -1, 2, step)
        first, second = halves[..., 0, :], halves[..., 1, :]
        x = np.stack([first + second, first - second], axis=-2).reshape(x.shape)
        step //= 2
    return x

"""Random projections from few numbers to many, for prompts that are tuned in a subspace."""

from collections.abc import Callable

import numpy as np

from fedbbpt.types import Float32

Projection = Callable[[Float32], Float32]  # (n, d) -> (n, D)


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

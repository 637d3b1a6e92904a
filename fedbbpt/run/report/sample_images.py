"""Synthetic images, on which a report can show a prompt without any client's image."""

from typing import Any

import numpy as np

from fedbbpt.types import Float32


def sample_images(size: tuple[int, int]) -> dict[str, Float32]:
    """Synthetic images (3, h, w) in [0, 1] that show what happens to colours, shades and shapes, by name."""
    y, x = (np.linspace(0, 1, side, dtype=np.float32) for side in size)
    bars = np.minimum((8 * x).astype(int), 7)  # from white to black, as on a television test card
    colours = np.array([[1 - (bar >> bit & 1) for bar in range(8)] for bit in (1, 2, 0)], np.float32)
    radius = np.hypot(2 * y[:, None] - 1, 2 * x[None] - 1)
    images: dict[str, Any] = {
        "colour bars": colours[:, bars][:, None],
        "shades": (y[:, None] + x[None]) / 2,
        "rings": (5 * radius).astype(int) % 2,
    }
    steps = {name: np.rint(np.broadcast_to(255 * image, (3, *size))) for name, image in images.items()}  # of 8 bits
    return {name: (image / 255).astype(np.float32) for name, image in steps.items()}

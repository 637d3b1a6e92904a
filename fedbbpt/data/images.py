"""Pictures to arrays, through Pillow."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]  # (3, h, w)


def to_array(image: Image.Image, size: tuple[int, int]) -> Picture:
    """An RGB picture (3, h, w) of the given size (bicubic); transparency becomes white."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    resized = image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(resized, np.uint8).transpose(2, 0, 1)

"""What some families of transformers' image models read besides a picture, or in its place."""

import math
from typing import Any

import torch
from torch import Tensor

from fedbbpt_backends.preprocessing import HeightWidth, height_width


def vision_of(config: Any) -> Any:
    """The part of a config that speaks of pictures."""
    return next((part for key in ("vision_config", "image_config") if (part := getattr(config, key, None))), config)


def image_size(vision: Any) -> HeightWidth | None:
    """The size of pictures that a config names; where it only counts patches, that of a square of them."""
    patch, count = getattr(vision, "patch_size", None), getattr(vision, "num_patches", None)
    named = height_width(getattr(vision, "image_size", None))
    return named or (height_width(math.isqrt(count) * patch) if patch and count else None)


def put_in_order(net: Any) -> None:
    """A masked autoencoder would hide most patches, drawn anew for each picture."""
    if _masks(net.config):
        net.config.mask_ratio = 0.0


def arguments(config: Any, x: Tensor) -> dict[str, Tensor]:
    """What `forward` takes for values (b, c, h, w)."""
    vision = vision_of(config)
    high, wide = height_width(getattr(vision, "patch_size", None)) or (1, 1)
    rows, columns = x.shape[2] // high, x.shape[3] // wide
    if _masks(config):  # sorts its patches by random numbers; these leave them where they are
        return {"pixel_values": x, "noise": torch.arange(rows * columns, device=x.device).expand(len(x), -1)}
    if config.model_type.startswith("siglip2"):  # patches of a picture of any shape
        parts = x.unfold(2, high, high).unfold(3, wide, wide)  # (b, c, rows, columns, high, wide)
        patches = parts.permute(0, 2, 3, 4, 5, 1).reshape(len(x), rows * columns, -1)
        return {
            "pixel_values": patches,
            "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.long, device=x.device),
            "spatial_shapes": torch.tensor([[rows, columns]] * len(x), device=x.device),
        }
    return {"pixel_values": x}


def _masks(config: Any) -> bool:
    return bool(config.model_type == "vit_mae")

"""Inputs of families of image models in transformers that expect more than pixels, or something else."""

import math
from typing import Any

import torch
from torch import Tensor

from fedbbpt_backends.image_sizes import HeightWidth, height_width


def vision_config(config: Any) -> Any:
    """The part of a config that describes the image model."""
    return next((part for key in ("vision_config", "image_config") if (part := getattr(config, key, None))), config)


def image_size(vision: Any) -> HeightWidth | None:
    """The image size in a config; if it only gives a number of patches, that of a square of them."""
    patch, count = getattr(vision, "patch_size", None), getattr(vision, "num_patches", None)
    named = height_width(getattr(vision, "image_size", None))
    return named or (height_width(math.isqrt(count) * patch) if patch and count else None)


def disable_masking(net: Any) -> None:
    """Keeps a masked autoencoder from dropping a random subset of the patches."""
    if _is_masked_autoencoder(net.config):
        net.config.mask_ratio = 0.0


def forward_arguments(config: Any, x: Tensor) -> dict[str, Tensor]:
    """The keyword arguments of `forward` for pixel values (b, c, h, w)."""
    vision = vision_config(config)
    high, wide = height_width(getattr(vision, "patch_size", None)) or (1, 1)
    rows, columns = x.shape[2] // high, x.shape[3] // wide
    if _is_masked_autoencoder(config):  # it sorts the patches by noise; this noise keeps their order
        return {"pixel_values": x, "noise": torch.arange(rows * columns, device=x.device).expand(len(x), -1)}
    if config.model_type.startswith("siglip2"):  # it reads patches of images of any shape
        parts = x.unfold(2, high, high).unfold(3, wide, wide)  # (b, c, rows, columns, high, wide)
        patches = parts.permute(0, 2, 3, 4, 5, 1).reshape(len(x), rows * columns, -1)
        return {
            "pixel_values": patches,
            "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.long, device=x.device),
            "spatial_shapes": torch.tensor([[rows, columns]] * len(x), device=x.device),
        }
    return {"pixel_values": x}


def _is_masked_autoencoder(config: Any) -> bool:
    return bool(config.model_type == "vit_mae")

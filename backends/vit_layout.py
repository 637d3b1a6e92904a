"""The layout of the vision transformers that can be partitioned: their embedding, blocks and pooling."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fedbbpt.errors import ConfigError
from fedbbpt_backends.image_sizes import height_width


@dataclass(frozen=True)
class ViTLayout:
    """The parts of a vision transformer; its parameters are registered in the order in which they are used."""

    net: nn.Module  # without its own classifier
    blocks: Sequence[nn.Module]
    embed: Callable[[Tensor], Tensor]  # normalised pixels (b, 3, h, w) -> (b, n, D)
    pool: Callable[[Tensor], Tensor]  # the output of the last block (b, n, D) -> features (b, D')
    patch: int  # pixels per patch
    block: Callable[[nn.Module, Tensor], Tensor] = lambda block, x: block(x)


def layout_of(name: str, net: Any) -> ViTLayout:
    """The layout of a network, whose model's name is for the error.

    Raises:
        ConfigError: the network is not a vision transformer of a supported family.
    """
    if name.startswith("timm:"):
        from timm.models.vision_transformer import VisionTransformer

        kind, of_kind = type(net).__name__, _of_timm if isinstance(net, VisionTransformer) else None
    else:
        kind = net.config.model_type
        of_kind = {"vit": _of_vit, "deit": _of_vit, "clip": _of_clip, "clip_vision_model": _of_clip}.get(kind)
    if of_kind is None:
        raise ConfigError(f"{name} ({kind}) cannot be partitioned; use ViT, DeiT, CLIP, or timm's VisionTransformer")
    return of_kind(net)


def _of_vit(net: Any) -> ViTLayout:
    net.set_attn_implementation("sdpa")  # eager attention rounds to float32, whatever the dtype
    base = net.base_model
    blocks = base.layers if hasattr(base, "layers") else base.encoder.layer  # transformers 5, 4
    pool = lambda x: base.layernorm(x[:, 0])  # noqa: E731
    return ViTLayout(base, blocks, base.embeddings, pool, _patch(base.config))


def _patch(config: Any) -> int:
    high, wide = height_width(config.patch_size) or (1, 1)
    return high * wide


def _of_clip(net: Any) -> ViTLayout:
    net.set_attn_implementation("sdpa")
    vision, project = net.vision_model, getattr(net, "visual_projection", nn.Identity())
    layers = vision.encoder.layers
    masks = [name for name in inspect.signature(layers[0].forward).parameters if name.endswith("attention_mask")]

    def block(layer: nn.Module, x: Tensor) -> Tensor:
        output = layer(x, **dict.fromkeys(masks))
        return output[0] if isinstance(output, tuple) else output  # a tuple in transformers 4

    return ViTLayout(
        nn.ModuleList([vision, project]),  # without the text model
        blocks=layers,
        embed=lambda x: vision.pre_layrnorm(vision.embeddings(x)),
        pool=lambda x: project(vision.post_layernorm(x[:, 0])),
        patch=_patch(vision.config),
        block=block,
    )


def _of_timm(net: Any) -> ViTLayout:
    net.reset_classifier(0)
    return ViTLayout(
        net,
        blocks=net.blocks,
        embed=lambda x: net.norm_pre(net.patch_drop(net._pos_embed(net.patch_embed(x)))),
        pool=lambda x: net.forward_head(net.norm(x), pre_logits=True),
        patch=math.prod(net.patch_embed.patch_size),
    )

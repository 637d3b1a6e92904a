"""Pretrained image models from three sources, behind one face: pixels in, pooled features and own logits out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fedbbpt.errors import BackendError, ConfigError
from fedbbpt_backends import embedded
from fedbbpt_backends.loading import check_config, loading

FEW_TOKENS = 64  # below this, plain attention is faster on CPUs than the fused kernel


@dataclass(frozen=True)
class ImageModel:
    """A frozen network in evaluation mode."""

    name: str
    net: nn.Module
    features: Callable[[Tensor], Tensor]  # normalised pixels (b, 3, h, w) -> (b, D)
    logits: Callable[[Tensor], Tensor] | None  # -> (b, C); None without a classifier of its own
    classes: tuple[str, ...]  # of the model's own classifier
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    activation: int  # rough number of values that one image keeps alive in one block


def load_model(name: str, weights: str | None, device: str) -> ImageModel:
    """`embedded`, `timm:NAME`, `hf:ID` or `dir:PATH` (Hugging Face layout).

    `weights` is a file for timm models, where no hub is to be asked.

    Raises:
        ConfigError: no such kind of name.
        BackendError: the model cannot be loaded; the message says what to do.
    """
    source, _, rest = name.partition(":")
    if name == "embedded":
        source, rest = "dir", str(embedded.FOLDER)
    if source == "dir" and name != "embedded":
        rest = str(Path(rest).resolve())
        name = f"dir:{rest}"
    if source not in ("timm", "hf", "dir") or not rest:
        raise ConfigError(f"backend.model is embedded, timm:NAME, hf:ID or dir:PATH, got {name!r}")
    if weights is not None and source != "timm":
        raise ConfigError("backend.weights goes with model=timm:NAME only")
    if source == "dir":
        check_config(rest)
    load = _from_timm if source == "timm" else _from_hugging_face
    with loading(name, "model=embedded and dir:PATH"):
        return load(name, rest, weights, device)


def _from_timm(name: str, rest: str, weights: str | None, device: str) -> ImageModel:
    import timm

    if not timm.is_model(rest):
        near = timm.list_models(f"*{rest.partition('_')[0]}*")[:5]
        raise BackendError(f"timm has no model {rest!r}; some it has: {', '.join(near) or 'see timm.list_models()'}")
    overlay = {"file": weights} if weights else None
    net = timm.create_model(rest, pretrained=True, pretrained_cfg_overlay=overlay).eval().to(device)
    data = timm.data.resolve_model_data_config(net)
    _, height, width = data["input_size"]
    grid = getattr(getattr(net, "patch_embed", None), "grid_size", (height // 16, width // 16))
    return ImageModel(
        name,
        net,
        features=lambda x: net.forward_head(net.forward_features(x), pre_logits=True),
        logits=net if net.num_classes else None,
        classes=tuple(f"class {i}" for i in range(net.num_classes)),
        size=(height, width),
        mean=data["mean"],
        std=data["std"],
        activation=16 * grid[0] * grid[1] * net.num_features,
    )


def _from_hugging_face(name: str, rest: str, weights: None, device: str) -> ImageModel:
    import transformers

    config = transformers.AutoConfig.from_pretrained(rest)
    vision = getattr(config, "vision_config", config)
    own = any("ForImageClassification" in architecture for architecture in config.architectures or ())
    tokens = (vision.image_size // getattr(vision, "patch_size", 16)) ** 2 + 1
    options: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True}
    if device == "cpu" and tokens <= FEW_TOKENS:
        options["attn_implementation"] = "eager"
    if own:
        kind: Any = transformers.AutoModelForImageClassification
    elif config.model_type in ("clip", "clip_vision_model"):
        kind = transformers.CLIPVisionModelWithProjection
    else:
        kind = transformers.AutoModel
        options |= {"add_pooling_layer": False} if config.model_type in ("vit", "deit") else {}
    net, report = kind.from_pretrained(rest, **options)
    if missing := sorted(report["missing_keys"]):
        raise BackendError(f"{name} lacks {len(missing)} of its weights, {missing[0]} among them")
    net.eval().to(device)
    pixels, _ = transformers.image_processing_base.ImageProcessingMixin.get_image_processor_dict(rest)
    base = net.base_model if own else net
    return ImageModel(
        name,
        net,
        features=lambda x: _pooled(base(x)),
        logits=(lambda x: net(x).logits) if own else None,
        classes=tuple(config.id2label[i] for i in range(config.num_labels)) if own else (),
        size=(vision.image_size, vision.image_size),
        mean=tuple(pixels.get("image_mean") or (0.5, 0.5, 0.5)),
        std=tuple(pixels.get("image_std") or (0.5, 0.5, 0.5)),
        activation=16 * tokens * vision.hidden_size,
    )


def _pooled(output: Any) -> Tensor:
    """CLIP's projected embedding, else the class token behind the last norm."""
    embeds = getattr(output, "image_embeds", None)
    return embeds if embeds is not None else output.last_hidden_state[:, 0]

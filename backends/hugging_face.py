"""Image models of Hugging Face's transformers, used as their family intends."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fedbbpt.errors import BackendError
from fedbbpt_backends.image_families import disable_masking, forward_arguments, image_size, vision_config
from fedbbpt_backends.image_models import ImageModel, probe_model
from fedbbpt_backends.image_sizes import HeightWidth, height_width, processed_size
from fedbbpt_backends.loading import NO_REMOTE_CODE, accepts_argument, class_names, load_pretrained
from fedbbpt_backends.preprocessing import preprocessing_of
from fedbbpt_backends.timm_models import of_timm

FEW_TOKENS = 64  # below this, eager attention is faster on CPUs than the fused kernel
CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")  # suffixes of parameter names
POOLED = ("image_embeds", "pooler_output", "cls_token_value", "last_hidden_state")  # fields of an output, by precedence
UNPOOLED = ("vit", "deit")  # their own classifiers use the class token, not the pooler


def load_hugging_face(name: str, source: str, device: str) -> ImageModel:
    """Loads a model from a folder or the hub.

    Raises:
        BackendError: the model does not read images, or its files are inconsistent.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(source, **NO_REMOTE_CODE)
    vision = vision_config(config)
    configured = image_size(vision)
    options: dict[str, Any] = {}
    if device == "cpu" and _tokens(configured, height_width(getattr(vision, "patch_size", None))) <= FEW_TOKENS:
        options["attn_implementation"] = "eager"
    kind, classifies = _auto_class(name, config)
    net, missing = load_pretrained(name, kind, source, ("pooler.",), **options)
    net.to(device)
    own = classifies and config.num_labels > 1  # a single output is a regression
    classes = class_names(name, config) if own else ()
    if config.model_type == "timm_wrapper":
        return of_timm(name, net.timm_model, classes, getattr(config, "pretrained_cfg", {}))
    if missing or config.model_type in UNPOOLED:
        net.pooler = None
    disable_masking(net)
    settings, says_size = _processor_settings(name, source)
    processed = processed_size(settings)
    return probe_model(
        name,
        net,
        features=_penultimate_features(name, net) if classifies else _pooled_features(net),
        logits=(lambda x: net(**forward_arguments(config, x)).logits) if own else None,
        classes=classes,
        preprocessing=preprocessing_of(name, settings, getattr(vision, "num_channels", 3)),
        sizes=[processed, configured] if says_size else [configured, processed],
    )


def _tokens(image: HeightWidth | None, patch: HeightWidth | None) -> float:
    """The number of tokens of an image in a vision transformer; infinite if unknown."""
    return (image[0] // patch[0]) * (image[1] // patch[1]) + 1 if image and patch else float("inf")


def _auto_class(name: str, config: Any) -> tuple[Any, bool]:
    """The Auto class that loads the model, and whether the model is a classifier.

    Raises:
        BackendError: the model does not read images.
    """
    import transformers

    architectures = config.architectures or []
    if any("ForImageClassification" in one for one in architectures):
        return transformers.AutoModelForImageClassification, True
    if config.model_type == "timm_wrapper" and not architectures and config.num_labels:  # as saved by timm
        return transformers.AutoModelForImageClassification, True
    for one in architectures:
        if one.endswith("VisionModelWithProjection"):
            return getattr(transformers, one), False
    if not accepts_argument(config, "pixel_values"):
        raise BackendError(f"{name} is of the type {config.model_type}, which reads no images; use a model that does")
    return transformers.AutoModel, False


def _is_dual_encoder(model: Any) -> bool:
    """Whether the model has separate encoders for texts and images, as CLIP has."""
    return hasattr(model, "get_image_features")


def _processor_settings(name: str, source: str) -> tuple[dict[str, Any], bool]:
    """The settings of the image processor, and whether its file gives a size; otherwise the size is the family's.

    Raises:
        BackendError: there is no preprocessor_config.json, or it cannot be parsed.
    """
    import transformers

    try:
        written, _ = transformers.ImageProcessingMixin.get_image_processor_dict(source)
        says_size = not written.keys().isdisjoint(("size", "crop_size"))
    except (OSError, AttributeError) as e:  # AttributeError: the JSON is not an object
        raise BackendError(
            f"{name} has no preprocessor_config.json, or an unreadable one, and only that file says how to normalise "
            "images; put the file of the base model beside its config.json"
        ) from e
    try:
        defaults = transformers.AutoImageProcessor.from_pretrained(source, **NO_REMOTE_CODE).to_dict()
    except ValueError:  # an image processor that transformers does not know
        defaults = {}
    return {**defaults, **written}, says_size


def _pooled_features(net: Any) -> Callable[[Tensor], Tensor]:
    """The model's own pooled output; if there is none, its class token, or the mean over all positions."""
    if _is_dual_encoder(net):
        for child, _ in list(net.named_children()):
            if child.startswith("text"):
                setattr(net, child, None)  # never used
    ask: Callable[..., Any] = net.get_image_features if _is_dual_encoder(net) else net
    has_class_token = any(key.endswith(CLASS_TOKENS) for key, _ in net.named_parameters())

    def features(x: Tensor) -> Tensor:
        output = ask(**forward_arguments(net.config, x))
        if not isinstance(output, Tensor):
            output = next((value for key in POOLED if (value := getattr(output, key, None)) is not None), output)
        if output.ndim == 4:
            return output.mean((2, 3))
        if output.ndim == 3:
            return output[:, 0] if has_class_token else output.mean(1)
        return output

    return features


def _penultimate_features(name: str, net: Any) -> Callable[[Tensor], Tensor]:
    """The input of a classifier's last layer: of the first child module that outputs one number per class."""

    def features(x: Tensor) -> Tensor:
        read: list[Tensor] = []

        def look(_module: object, inputs: tuple[Any, ...], output: Any) -> None:
            if not read and isinstance(output, Tensor) and output.shape == (len(x), net.config.num_labels):
                read.append(inputs[0].flatten(1))

        hooks = [child.register_forward_hook(look) for child in net.children()]
        try:
            net(**forward_arguments(net.config, x))
        finally:
            for hook in hooks:
                hook.remove()
        if not read:
            raise BackendError(f"{name} has no last layer that reads features; use -o backend.classifier=own")
        return read[0]

    return features

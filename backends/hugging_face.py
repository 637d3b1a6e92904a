"""Image models of transformers, each read as its family means it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fedbbpt.errors import BackendError
from fedbbpt_backends.image_families import arguments, image_size, put_in_order, vision_of
from fedbbpt_backends.image_models import ImageModel, probe_model
from fedbbpt_backends.loading import SAFE, class_names, pretrained, reads
from fedbbpt_backends.preprocessing import HeightWidth, height_width, preprocessing_of, processed_size
from fedbbpt_backends.timm_models import of_timm

FEW_TOKENS = 64  # below this, plain attention is faster on CPUs than the fused kernel
CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")  # ends of their parameters' names
POOLED = ("image_embeds", "pooler_output", "cls_token_value", "last_hidden_state")  # of an output, the first there is
UNPOOLED = ("vit", "deit")  # their own classifiers read the class token, not the pooler


def load_hugging_face(name: str, source: str, device: str) -> ImageModel:
    """The model of a folder or of the hub.

    Raises:
        BackendError: it is none that reads pictures, or its files do not go together.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(source, **SAFE)
    vision = vision_of(config)
    configured = image_size(vision)
    options: dict[str, Any] = {}
    if device == "cpu" and _tokens(configured, height_width(getattr(vision, "patch_size", None))) <= FEW_TOKENS:
        options["attn_implementation"] = "eager"
    kind, classifies = _kind(name, config)
    net, missing = pretrained(name, kind, source, ("pooler.",), **options)
    net.to(device)
    own = classifies and config.num_labels > 1  # a single output is a number, not a class
    classes = class_names(name, config) if own else ()
    if config.model_type == "timm_wrapper":
        return of_timm(name, net.timm_model, classes, getattr(config, "pretrained_cfg", {}))
    if missing or config.model_type in UNPOOLED:
        net.pooler = None
    put_in_order(net)
    settings, says_size = _settings(name, source)
    processed = processed_size(settings)
    return probe_model(
        name,
        net,
        features=_before_the_classifier(name, net) if classifies else _pooled(net),
        logits=(lambda x: net(**arguments(config, x)).logits) if own else None,
        classes=classes,
        preprocessing=preprocessing_of(name, settings, getattr(vision, "num_channels", 3)),
        sizes=[processed, configured] if says_size else [configured, processed],
    )


def _tokens(image: HeightWidth | None, patch: HeightWidth | None) -> float:
    """How many tokens a picture is to a vision transformer; very many where that is not known."""
    return (image[0] // patch[0]) * (image[1] // patch[1]) + 1 if image and patch else float("inf")


def _kind(name: str, config: Any) -> tuple[Any, bool]:
    """What loads the model, and whether it is a classifier.

    Raises:
        BackendError: it reads no pictures.
    """
    import transformers

    architectures = config.architectures or []
    if any("ForImageClassification" in one for one in architectures):
        return transformers.AutoModelForImageClassification, True
    if config.model_type == "timm_wrapper" and not architectures and config.num_labels:  # as timm saves it
        return transformers.AutoModelForImageClassification, True
    for one in architectures:
        if one.endswith("VisionModelWithProjection"):
            return getattr(transformers, one), False
    if not reads(config, "pixel_values"):
        raise BackendError(
            f"{name} is of the type {config.model_type}, which reads no pictures; local-vit wants one that does"
        )
    return transformers.AutoModel, False


def _has_towers(model: Any) -> bool:
    """Whether it reads texts as well as pictures, each by itself."""
    return hasattr(model, "get_image_features")


def _settings(name: str, source: str) -> tuple[dict[str, Any], bool]:
    """What the image processor is set to, and whether that says a size, which is its family's otherwise.

    Raises:
        BackendError: there is none.
    """
    import transformers

    try:
        written, _ = transformers.ImageProcessingMixin.get_image_processor_dict(source)
        says_size = not written.keys().isdisjoint(("size", "crop_size"))
    except (OSError, AttributeError) as e:  # AttributeError: it is no table
        raise BackendError(
            f"{name} has no preprocessor_config.json, or none that can be read, and only that says how pictures become "
            "numbers; put the one of the model that it was made from beside its config.json"
        ) from e
    try:
        defaults = transformers.AutoImageProcessor.from_pretrained(source, **SAFE).to_dict()
    except ValueError:  # of a kind that transformers does not know
        defaults = {}
    return {**defaults, **written}, says_size


def _pooled(net: Any) -> Callable[[Tensor], Tensor]:
    """The model's own pooled output; without one, its class token, or the mean over all places."""
    if _has_towers(net):
        for child, _ in list(net.named_children()):
            if child.startswith("text"):
                setattr(net, child, None)  # never asked
    ask: Callable[..., Any] = net.get_image_features if _has_towers(net) else net
    has_class_token = any(key.endswith(CLASS_TOKENS) for key, _ in net.named_parameters())

    def features(x: Tensor) -> Tensor:
        output = ask(**arguments(net.config, x))
        if not isinstance(output, Tensor):
            output = next((value for key in POOLED if (value := getattr(output, key, None)) is not None), output)
        if output.ndim == 4:
            return output.mean((2, 3))
        if output.ndim == 3:
            return output[:, 0] if has_class_token else output.mean(1)
        return output

    return features


def _before_the_classifier(name: str, net: Any) -> Callable[[Tensor], Tensor]:
    """What a classifier's last part reads: the first part whose outputs are as many numbers as there are classes."""

    def features(x: Tensor) -> Tensor:
        read: list[Tensor] = []

        def look(_module: object, inputs: tuple[Any, ...], output: Any) -> None:
            if not read and isinstance(output, Tensor) and output.shape == (len(x), net.config.num_labels):
                read.append(inputs[0].flatten(1))

        hooks = [child.register_forward_hook(look) for child in net.children()]
        try:
            net(**arguments(net.config, x))
        finally:
            for hook in hooks:
                hook.remove()
        if not read:
            raise BackendError(
                f"{name} classifies without a last part that reads features; use -o backend.classifier=own"
            )
        return read[0]

    return features

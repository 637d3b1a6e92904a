"""Image models of timm."""

from collections.abc import Mapping
from typing import Any

from fedbbpt.errors import BackendError
from fedbbpt_backends.image_models import ImageModel, probe_model
from fedbbpt_backends.preprocessing import preprocessing_of


def load_timm(name: str, model: str, weights: str | None, device: str) -> ImageModel:
    """Loads a model of timm, with timm's own weights or those in a file.

    Raises:
        BackendError: timm has no model of that name.
    """
    import timm

    if not timm.is_model(model):
        near = timm.list_models(f"*{model.partition('_')[0]}*")[:5]
        raise BackendError(f"timm has no model {model!r}; similar ones: {', '.join(near) or 'see timm.list_models()'}")
    # models with weights in .npz would otherwise read any file as .npz (timm before 1.0.31)
    overlay = {"file": weights, "custom_load": weights.endswith(".npz")} if weights else None
    net = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay).eval().to(device)
    return of_timm(name, net, tuple(f"class {i}" for i in range(net.num_classes)), net.pretrained_cfg)


def of_timm(name: str, net: Any, classes: tuple[str, ...], settings: Mapping[str, Any]) -> ImageModel:
    """Wraps a loaded model of timm."""
    import timm

    data = timm.data.resolve_data_config(pretrained_cfg=dict(settings), model=net)
    depth, height, width = data["input_size"]
    return probe_model(
        name,
        net,
        features=lambda x: net.forward_head(net.forward_features(x), pre_logits=True),
        logits=net if classes else None,
        classes=classes,
        preprocessing=preprocessing_of(name, {"image_mean": data["mean"], "image_std": data["std"]}, depth),
        sizes=[(height, width)],
    )

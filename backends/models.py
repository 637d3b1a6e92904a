"""Pretrained image models from three sources, by name."""

from pathlib import Path

from fedbbpt.errors import ConfigError
from fedbbpt_backends import embedded
from fedbbpt_backends.image_model import ImageModel
from fedbbpt_backends.loading import check_config, loading


def load_model(name: str, weights: str | None, device: str) -> ImageModel:
    """`embedded`, `timm:NAME`, `hf:ID` or `dir:PATH` (Hugging Face layout).

    `weights` is a file for timm models, where no hub is to be asked.

    Raises:
        ConfigError: no such kind of name.
        BackendError: the model cannot be loaded or used; the message says what to do.
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
    with loading(name, "model=embedded and dir:PATH"):
        if source == "timm":
            from fedbbpt_backends.timm_models import load_timm

            return load_timm(name, rest, weights, device)
        from fedbbpt_backends.hugging_face import load_hugging_face

        return load_hugging_face(name, rest, device)

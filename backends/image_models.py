"""Pretrained image models from three sources, behind one interface: pixels in, pooled features and own logits out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from fedbbpt.errors import BackendError, ConfigError, FedbbptError
from fedbbpt_backends import embedded
from fedbbpt_backends.image_sizes import HeightWidth
from fedbbpt_backends.loading import check_config, check_deterministic, loading, short_reason
from fedbbpt_backends.preprocessing import Preprocessing

DEFAULT_SIZE: HeightWidth = (224, 224)  # if neither config nor image processor gives one
ACTIVATION_FACTOR = 4  # a block holds about four times as many values as its largest layer outputs


@dataclass(frozen=True)
class ImageModel:
    """A frozen network in evaluation mode."""

    name: str
    net: nn.Module
    features: Callable[[Tensor], Tensor]  # values (b, c, h, w) as `preprocessing` says -> (b, D)
    logits: Callable[[Tensor], Tensor] | None  # -> (b, C); None without a classifier of its own
    classes: tuple[str, ...]  # of the model's own classifier
    preprocessing: Preprocessing
    size: HeightWidth
    activation: int  # rough number of values that one image occupies in one block


def load_image_model(name: str, weights: str | None, device: str) -> ImageModel:
    """`embedded`, `timm:NAME`, `hf:ID` or `dir:PATH` (Hugging Face layout).

    `weights` is a file of weights for a timm model, in place of those on the hub.

    Raises:
        ConfigError: the name is of no known form, or `weights` is given for another model than timm's.
        BackendError: the model cannot be loaded or used.
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


def probe_model(
    name: str,
    net: nn.Module,
    features: Callable[[Tensor], Tensor],
    logits: Callable[[Tensor], Tensor] | None,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    sizes: Sequence[HeightWidth | None],
) -> ImageModel:
    """Runs a network on one image, of the first of these sizes that it accepts, and returns it as an `ImageModel`.

    Raises:
        BackendError: it accepts no size, outputs no vector per image, or is not deterministic.
    """
    answer, device = logits or features, next(net.parameters()).device
    problem = ""
    for height, width in dict.fromkeys([size for size in sizes if size] or [DEFAULT_SIZE]):
        count = preprocessing.num_channels * height * width
        values = torch.linspace(-1, 1, count, device=device).view(1, -1, height, width)
        try:
            with _largest_output() as largest:
                scores = check_deterministic(name, lambda values=values: answer(values))
        except (FedbbptError, MemoryError):
            raise
        except Exception as e:  # models raise anything for inputs that they do not accept
            problem = (
                problem or f"{name} cannot be run on an image of {height} × {width} pixels alone: {short_reason(e)}"
            )
            continue
        if scores.ndim != 2 or (logits and scores.shape[1] != len(classes)):
            what = f"{len(classes)} class scores" if logits else "one vector"
            raise BackendError(f"{name} outputs an array {tuple(scores.shape)} for an image, not {what}")
        return ImageModel(
            name, net, features, logits, classes, preprocessing, (height, width), ACTIVATION_FACTOR * largest[0]
        )
    raise BackendError(problem)


@contextmanager
def _largest_output() -> Iterator[list[int]]:
    """Yields a list whose element becomes the size of the largest output of any layer that runs meanwhile."""
    largest = [1]

    def look(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            largest[0] = max(largest[0], output.numel())

    hook = register_module_forward_hook(look)
    try:
        yield largest
    finally:
        hook.remove()

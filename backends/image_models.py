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
from fedbbpt_backends.loading import check_config, loading, reason, steady
from fedbbpt_backends.preprocessing import HeightWidth, Preprocessing

DEFAULT_SIZE: HeightWidth = (224, 224)  # where nothing says how large pictures are
KEPT = 4  # a block keeps about as many values as four times its largest layer gives


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
    activation: int  # rough number of values that one image keeps alive in one block


def load_image_model(name: str, weights: str | None, device: str) -> ImageModel:
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


def probe_model(
    name: str,
    net: nn.Module,
    features: Callable[[Tensor], Tensor],
    logits: Callable[[Tensor], Tensor] | None,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    sizes: Sequence[HeightWidth | None],
) -> ImageModel:
    """The model, once it has answered a first picture, of the first of these sizes that it takes.

    Raises:
        BackendError: it takes none, or its answer is no vector, or another one each time.
    """
    answer, device = logits or features, next(net.parameters()).device
    problem = ""
    for height, width in dict.fromkeys([size for size in sizes if size] or [DEFAULT_SIZE]):
        count = preprocessing.num_channels * height * width
        values = torch.linspace(-1, 1, count, device=device).view(1, -1, height, width)
        try:
            with _largest_output() as largest:
                scores = steady(name, lambda values=values: answer(values))
        except (FedbbptError, MemoryError):
            raise
        except Exception as e:  # every model has its own words for a size, or an input, that it does not take
            problem = problem or f"{name} does not answer to a picture of {height} × {width} alone: {reason(e)}"
            continue
        if scores.ndim != 2 or (logits and scores.shape[1] != len(classes)):
            what = f"{len(classes)} class scores" if logits else "one vector"
            raise BackendError(f"{name} answers to a picture with an array {tuple(scores.shape)}, not with {what}")
        return ImageModel(name, net, features, logits, classes, preprocessing, (height, width), KEPT * largest[0])
    raise BackendError(problem)


@contextmanager
def _largest_output() -> Iterator[list[int]]:
    """How many numbers the largest output of any layer has, once something has run."""
    largest = [1]

    def look(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            largest[0] = max(largest[0], output.numel())

    hook = register_module_forward_hook(look)
    try:
        yield largest
    finally:
        hook.remove()

"""A frozen image model behind one face: pixels in, pooled features and own logits out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from fedbbpt.errors import BackendError, FedbbptError
from fedbbpt_backends.loading import reason, steady
from fedbbpt_backends.pixels import Pixels, Sides

USUAL: Sides = (224, 224)  # where nothing says how large pictures are
KEPT = 4  # a block keeps about as many values as four times its largest layer gives


@dataclass(frozen=True)
class ImageModel:
    """A frozen network in evaluation mode."""

    name: str
    net: nn.Module
    features: Callable[[Tensor], Tensor]  # values (b, c, h, w) as `pixels` says -> (b, D)
    logits: Callable[[Tensor], Tensor] | None  # -> (b, C); None without a classifier of its own
    classes: tuple[str, ...]  # of the model's own classifier
    pixels: Pixels
    size: Sides
    activation: int  # rough number of values that one image keeps alive in one block


def tried(
    name: str,
    net: nn.Module,
    features: Callable[[Tensor], Tensor],
    logits: Callable[[Tensor], Tensor] | None,
    classes: tuple[str, ...],
    pixels: Pixels,
    sizes: Sequence[Sides | None],
) -> ImageModel:
    """The model, once it has answered a first picture, of the first of these sizes that it takes.

    Raises:
        BackendError: it takes none, or its answer is no vector, or another one each time.
    """
    answer, device = logits or features, next(net.parameters()).device
    problem = ""
    for height, width in dict.fromkeys([size for size in sizes if size] or [USUAL]):
        values = torch.linspace(-1, 1, pixels.depth * height * width, device=device).view(1, -1, height, width)
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
        return ImageModel(name, net, features, logits, classes, pixels, (height, width), KEPT * largest[0])
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

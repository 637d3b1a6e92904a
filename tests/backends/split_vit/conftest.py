"""A vision transformer in parts, and passes through all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbbpt.split_learning.protocol import Gradients, LossOutput, Part
from fedbbpt.types import Float32, Parameters
from fedbbpt_backends.split_vit import SplitViT
from fedbbpt_backends.torchvision_compat import ensure_importable

ensure_importable()
ALL: frozenset[Part] = frozenset({"prompt", "head", "body", "tail", "classifier"})
LABELS = np.array([2, 0, 1], np.int64)


class Passable(SplitViT):
    """All three parts in one place, for images of the classes `LABELS`."""

    def parameters(self) -> Parameters:
        """Parameters for which no gradient is zero."""
        parameters = dict(self.init(0))
        noise = np.random.default_rng(1).normal(0, 0.1, self.sizes["classifier"])
        return parameters | {"classifier": noise.astype(parameters["classifier"].dtype)}

    def forward(self, parameters: Parameters, images: np.ndarray) -> Float32:
        """Log-probabilities."""
        smashed = self.head(parameters, images, frozenset()).values
        return self.predict(parameters, self.body(parameters, smashed, frozenset()).values)

    def round_trip(
        self, parameters: Parameters, images: np.ndarray, trained: frozenset[Part] = ALL
    ) -> tuple[LossOutput, Gradients]:
        """Forward and back: what the tail returns, and the gradients of all parts."""
        head = self.head(parameters, images, trained)
        body = self.body(parameters, head.values, trained)
        output = self.tail(parameters, body.values, LABELS, trained)
        at_body = body.vjp(output.values)
        at_head = head.vjp(at_body.values)
        assert at_head.values is None
        return output, {**at_head.gradients, **at_body.gradients, **output.gradients}


@pytest.fixture(scope="session")
def make_split(network: Callable[..., Any]) -> Callable[..., Passable]:
    """`make_split(name, weights, head, tail, **options)`: a model in parts, by default the embedded one."""

    def build(name: str = "embedded", weights: Path | None = None, head: int = 1, tail: int = 1, **options) -> Passable:
        options = {"num_prompt_tokens": 0, "deep_prompt": False, "num_classes": 3} | options
        return Passable(network(name, weights), head_blocks=head, tail_blocks=tail, **options)

    return build


@pytest.fixture(scope="module")
def split(make_split: Callable[..., Passable]) -> Passable:
    """The embedded model in parts, with a prompt before each block of the head."""
    return make_split(head=2, num_prompt_tokens=3, deep_prompt=True)


@pytest.fixture
def parameters(split: Passable) -> Parameters:
    """Of `split`; no gradient is zero there."""
    return split.parameters()


@pytest.fixture
def images() -> np.ndarray:
    """One of each of three classes, of a size that only the embedded model reads as it is."""
    return np.random.default_rng(0).random((3, 3, 70, 70), np.float32)

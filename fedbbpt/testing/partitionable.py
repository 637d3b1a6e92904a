"""A toy model that can be partitioned, for split learning; every gradient is written out."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fedbbpt.split_learning.protocol import (
    UPSTREAM,
    Backward,
    Forward,
    LossOutput,
    Part,
    Precision,
    SplitModel,
    Splittable,
)
from fedbbpt.testing.toy import ToyBackend
from fedbbpt.types import Float32, Inputs, Int64, Parameters

QUARTERS = 4  # of an image: its tokens
Trained = frozenset[Part]
Layer = tuple[Float32, Callable[[Float32], tuple[Float32, Float32]]]


class PartitionedToy(SplitModel):
    """Three tanh layers: quarters · head, beside the prompt; with their mean, · body; · tail, mean, · classifier.

    Args:
        num_prompt_tokens: soft tokens before the quarters.
        classes: K.
        width: D, numbers per token.
        forwarded: the numbers of samples of all forward passes through the body are appended to it.
    """

    def __init__(self, num_prompt_tokens: int, classes: int, width: int, forwarded: list[int]) -> None:
        self._classes, self._forwarded = classes, forwarded
        self._shapes: Mapping[Part, tuple[int, int]] = {
            "prompt": (num_prompt_tokens, width),
            "head": (3, width),
            "body": (width, width),
            "tail": (width, width),
            "classifier": (width + 1, classes),
        }
        self.num_prompt_tokens, self.width, self.identity = num_prompt_tokens, width, f"toy {width}"
        self.sizes = {part: rows * columns for part, (rows, columns) in self._shapes.items()}

    def init(self, seed: int) -> Parameters:
        """See `SplitModel`."""
        pretrained, own = np.random.default_rng(0), np.random.default_rng(seed)
        scales: Mapping[Part, float] = {"head": 4, "body": 1 / self.width, "tail": 1, "prompt": 1, "classifier": 0.1}
        rngs = {part: own if part in ("prompt", "classifier") else pretrained for part in scales}
        drawn = {part: scale * rngs[part].normal(size=self.sizes[part]) for part, scale in scales.items()}
        return {part: values.astype(np.float32) for part, values in drawn.items()}

    def head(self, parameters: Parameters, inputs: Inputs, trained: Trained) -> Forward:
        """See `SplitModel`."""
        quarters = inputs.reshape(-1, 3, 2, 4, 2, 4).mean((3, 5)).reshape(-1, 3, QUARTERS).swapaxes(1, 2)
        out, back = _layer(quarters - np.float32(0.3), self._of(parameters, "head"))
        prompt = np.broadcast_to(self._of(parameters, "prompt"), (len(out), self.num_prompt_tokens, self.width))

        def vjp(gradients: Float32) -> Backward:
            at_prompt, at_quarters = np.split(gradients, [self.num_prompt_tokens], axis=1)
            return Backward(None, _flat({"prompt": at_prompt.sum(0), "head": back(at_quarters)[1]}, trained))

        return Forward(np.concatenate([prompt, out], 1), vjp)

    def body(self, parameters: Parameters, values: Float32, trained: Trained) -> Forward:
        """See `SplitModel`.

        Raises:
            ValueError: it was given other parts than the body, which is all that a server has.
        """
        if set(parameters) != {"body"}:
            raise ValueError(f"the body is to be given its own parameters, got {sorted(parameters)}")
        self._forwarded.append(len(values))
        out, back = _layer(values + values.mean(1, keepdims=True), self._of(parameters, "body"))

        def vjp(gradients: Float32) -> Backward:
            inner, weights = back(gradients)
            return Backward(inner + inner.mean(1, keepdims=True), _flat({"body": weights}, trained))

        return Forward(out, vjp)

    def tail(self, parameters: Parameters, values: Float32, labels: Int64, trained: Trained) -> LossOutput:
        """See `SplitModel`."""
        out, back = _layer(values, self._of(parameters, "tail"))
        pooled, classifier = _with_one(out.mean(1)), self._of(parameters, "classifier")
        log_p = _log_softmax(pooled @ classifier)
        wrong = (np.exp(log_p) - np.eye(self._classes, dtype=np.float32)[labels]) / np.float32(len(labels))
        at_pooled = (wrong @ classifier.T)[:, None, :-1] / np.float32(values.shape[1])
        at_input, weights = back(np.broadcast_to(at_pooled, values.shape))
        gradients = _flat({"tail": weights, "classifier": pooled.T @ wrong}, trained)
        losses, upstream = -log_p[np.arange(len(labels)), labels], bool(trained & UPSTREAM["tail"])
        return LossOutput(losses, np.exp(log_p), at_input if upstream else None, gradients)

    def features(self, parameters: Parameters, values: Float32) -> Float32:
        """See `SplitModel`."""
        pooled = _layer(values, self._of(parameters, "tail"))[0].mean(1)
        standardised: Float32 = (pooled - pooled.mean(1, keepdims=True)) / pooled.std(1, keepdims=True)
        return standardised

    def predict(self, parameters: Parameters, values: Float32) -> Float32:
        """See `SplitModel`."""
        pooled = _layer(values, self._of(parameters, "tail"))[0].mean(1)
        return _log_softmax(_with_one(pooled) @ self._of(parameters, "classifier"))

    def _of(self, parameters: Parameters, part: Part) -> Float32:
        return parameters[part].reshape(self._shapes[part])


class PartitionableToy(ToyBackend, Splittable):
    """The toy backend, which can also be partitioned.

    Args:
        width: numbers per token.
        options: of `ToyBackend`.

    Attributes:
        forwarded: numbers of samples of all forward passes through the body.
    """

    def __init__(self, width: int = 6, **options: Any) -> None:
        super().__init__(**options)
        self.forwarded: list[int] = []
        self._width = width

    def computes_in(self, dtype: Precision) -> Precision:
        """Always float32."""
        return "float32"

    def partition_model(self, *, num_prompt_tokens: int, num_classes: int, **_: Any) -> SplitModel:
        """The same three layers, wherever the cuts are."""
        return PartitionedToy(num_prompt_tokens, num_classes, self._width, self.forwarded)


def _layer(values: Float32, weights: Float32) -> Layer:
    """tanh(values · weights), and the gradients with respect to both, given those of the result."""
    out = np.tanh(values @ weights)

    def back(gradients: Float32) -> tuple[Float32, Float32]:
        inner = gradients * (1 - out**2)
        return inner @ weights.T, np.einsum("bni,bno->io", values, inner)

    return out, back


def _flat(gradients: Mapping[Part, Float32], trained: Iterable[Part]) -> dict[Part, Float32]:
    return {part: gradient.astype(np.float32).ravel() for part, gradient in gradients.items() if part in trained}


def _with_one(values: Float32) -> Float32:
    return np.concatenate([values, np.ones((len(values), 1), np.float32)], 1)


def _log_softmax(logits: Float32) -> Float32:
    shifted = logits - logits.max(1, keepdims=True)
    normalised: Float32 = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return normalised

"""The protocol of a model in three parts: a client holds head and tail, the server holds the body.

This is split learning (Gupta & Raskar 2018, arXiv 1810.06060) in its U-shaped form, as in SFPrompt (arXiv 2407.17533):
with a cut on either side of the body, labels stay with the client, too. Forward, activations ("smashed data") cross a
cut; backward, the gradients with respect to them. Shapes: b samples, n tokens, D numbers per token, K classes.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from fedbbpt.backend import Backend
from fedbbpt.types import Float32, Inputs, Int64, Parameters

Part = Literal["prompt", "head", "body", "tail", "classifier"]  # of all parameters; the prompt's are soft tokens
# The number format of the blocks; parameters and gradients are float32. auto: the fast one on this machine.
Precision = Literal["float32", "bfloat16", "auto"]
Role = Literal["all", "client", "server"]  # which parts are present: all, head and tail, or the body
UPSTREAM: Mapping[Part, frozenset[Part]] = {  # the parts before each; gradients pass back through it if one is trained
    "head": frozenset({"prompt"}),
    "body": frozenset({"prompt", "head"}),
    "tail": frozenset({"prompt", "head", "body"}),
}
Gradients = Mapping[Part, Float32]  # by trained part, flat, as long as the part's parameters


class Forward(NamedTuple):
    """The output of a part, and its backward pass."""

    values: Float32  # (b, n, D)
    vjp: Callable[[Float32], "Backward"]  # takes gradients with respect to `values` (b, n, D); may be called once


class Backward(NamedTuple):
    """The result of a part's backward pass."""

    values: Float32 | None  # gradients with respect to the part's input (b, n, D); None for the head, which has images
    gradients: Gradients


class LossOutput(NamedTuple):
    """The output of the tail, given the labels; gradients are those of the mean loss."""

    losses: Float32  # (b,) cross-entropy, nats
    probabilities: Float32  # (b, K)
    values: Float32 | None  # gradients with respect to the tail's input (b, n, D); None if no earlier part is trained
    gradients: Gradients


class SplitModel(Protocol):
    """A model in parts. All methods are pure: parameters come with each call, by part, flat, float32.

    `trained` names the parts whose gradients are wanted. Where neither a part nor one before it is trained, nothing
    has to go back that far, and the part's `vjp` need not be called.
    """

    num_prompt_tokens: int  # soft tokens, at each place where they stand
    width: int  # D
    identity: str  # a hash of the pretrained body
    sizes: Mapping[Part, int]  # how many parameters each part has

    def init(self, seed: int) -> Parameters:
        """The pretrained parameters of the parts that are present, and a new prompt and classifier."""

    def head(self, parameters: Parameters, inputs: Inputs, trained: frozenset[Part]) -> Forward:
        """Images (b, 3, h, w) in [0, 1] through the first blocks, with the prompt's tokens among the others."""

    def body(self, parameters: Parameters, values: Float32, trained: frozenset[Part]) -> Forward:
        """Activations (b, n, D) through the blocks between."""

    def tail(self, parameters: Parameters, values: Float32, labels: Int64, trained: frozenset[Part]) -> LossOutput:
        """Activations (b, n, D) through the last blocks and the classifier, to the loss for the labels (b,)."""

    def features(self, parameters: Parameters, values: Float32) -> Float32:
        """Activations through the last blocks: the classifier's input (b, D'), each row of mean 0 and variance 1."""

    def predict(self, parameters: Parameters, values: Float32) -> Float32:
        """As `tail`, but forward only and without labels: log-probabilities (b, K)."""


class Splittable(Backend):
    """A backend whose model can be partitioned."""

    @abstractmethod
    def computes_in(self, dtype: Precision) -> Precision:
        """The number format in which the parts would compute: "auto" resolved for this machine."""

    @abstractmethod
    def partition_model(
        self,
        *,
        head_blocks: int,
        tail_blocks: int,
        num_prompt_tokens: int,
        deep_prompt: bool,
        num_classes: int,
        dtype: Precision,
        role: Role,
    ) -> SplitModel:
        """The model, cut after its first `head_blocks` blocks and before its last `tail_blocks` ones.

        `num_prompt_tokens` soft tokens stand before the first block, or, if `deep_prompt`, before each block of the
        head. With role="client" or "server", the backend drops the other's parts, and can no longer be queried.

        Raises:
            ConfigError: the model has fewer blocks, or is not made of blocks.
        """

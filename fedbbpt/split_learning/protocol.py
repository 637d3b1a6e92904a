"""White box: a model cut in three, of which a client holds the head and the tail, and the server the body.

Split learning (Gupta & Raskar 2018) with a cut on both sides of the body, as in SFPrompt (arXiv 2407.17533): labels
stay with the client, too. What crosses a cut are activations ("smashed data") and, back, the gradients at the same
place.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

from fedbbpt.backend import Backend
from fedbbpt.types import Float32, Inputs, Int64, Parameters

Part = Literal["prompt", "head", "body", "tail", "classifier"]  # of all parameters; the prompt's are soft tokens
# In which the blocks compute; parameters and gradients are float32. auto: the one that is fast on this machine.
Precision = Literal["float32", "bfloat16", "auto"]
Role = Literal["all", "client", "server"]  # whose parts are there: all, head and tail, or the body
UPSTREAM: Mapping[Part, frozenset[Part]] = {  # where one of these is trained, gradients come back through the part
    "head": frozenset({"prompt"}),
    "body": frozenset({"prompt", "head"}),
    "tail": frozenset({"prompt", "head", "body"}),
}
Gradients = Mapping[Part, Float32]  # flat, of the parts that are trained, as long as the parameters


class Forward(NamedTuple):
    """What a part makes of its input, and the way back."""

    values: Float32  # (b, n, D)
    vjp: Callable[[Float32], "Backward"]  # gradients at the values (b, n, D); may be called once


class Backward(NamedTuple):
    """What goes back through a part."""

    values: Float32 | None  # gradients at its input (b, n, D); None at the head, where the images are
    gradients: Gradients


class LossOutput(NamedTuple):
    """What the tail makes of its input, given the labels."""

    losses: Float32  # (b,) cross-entropy, nats
    probabilities: Float32  # (b, K)
    values: Float32 | None  # gradients of the mean loss at the tail's input (b, n, D), where an earlier part is trained
    gradients: Gradients  # of the mean loss


class SplitModel(Protocol):
    """A model in parts. All functions are pure: parameters come in with each call, flat by part, float32.

    Gradients are those of the parts named in `trained`. Where none of a part's own or earlier parameters is trained,
    there is no need to go back that far, and its `vjp` need not be called.
    """

    num_prompt_tokens: int  # soft tokens of the prompt, per place where some are put in
    width: int  # D, the numbers of a token
    identity: str  # a hash of the pretrained body
    sizes: Mapping[Part, int]  # how many parameters each part has

    def init(self, seed: int) -> Parameters:
        """The pretrained parameters of the parts that are there; a prompt and a classifier to begin with."""

    def head(self, parameters: Parameters, inputs: Inputs, trained: frozenset[Part]) -> Forward:
        """Images (b, 3, h, w) in [0, 1] through the first blocks, with the prompt's tokens among the others."""

    def body(self, parameters: Parameters, values: Float32, trained: frozenset[Part]) -> Forward:
        """Activations through the blocks between."""

    def tail(self, parameters: Parameters, values: Float32, labels: Int64, trained: frozenset[Part]) -> LossOutput:
        """Activations through the last blocks and the classifier."""

    def features(self, parameters: Parameters, values: Float32) -> Float32:
        """Activations through the last blocks: what the classifier reads (b, D'), of mean 0 and variance 1 each."""

    def predict(self, parameters: Parameters, values: Float32) -> Float32:
        """As `tail`, forward only: log-probabilities (b, K)."""


class Splittable(Backend):
    """A backend whose model can be cut."""

    @abstractmethod
    def computes_in(self, dtype: Precision) -> Precision:
        """The number format in which parts would compute: what "auto" is on this machine."""

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
        """Cut behind the first `head_blocks` blocks and before the last `tail_blocks` ones.

        `num_prompt_tokens` soft tokens stand before the first block, or, if `deep_prompt`, before each block of the
        head. With role="client" or "server", the backend gives up the other's parts, and can no longer be queried.

        Raises:
            ConfigError: the model has fewer blocks, or is not made of blocks.
        """

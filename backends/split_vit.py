"""A vision transformer partitioned between its blocks, for whoever holds its weights (`fedbbpt.split_learning`)."""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy, layer_norm, linear, log_softmax

from fedbbpt.errors import ConfigError
from fedbbpt.split_learning.protocol import UPSTREAM, Backward, Forward, LossOutput, Part, Role
from fedbbpt.types import Float32, Inputs, Int64, Parameters
from fedbbpt_backends.vit_layout import layout_of

if TYPE_CHECKING:
    from fedbbpt_backends.local_vit import Network

HELD_PARTS: dict[Role, tuple[Part, ...]] = {
    "all": ("head", "body", "tail"),
    "client": ("head", "tail"),
    "server": ("body",),
}


class SplitViT:
    """See `split_learning.protocol.SplitModel`. Takes over `network`, whose weights stay as they are; for one thread.

    The prompt (tokens, D), or (head_blocks, tokens, D) if `deep_prompt`, follows the class token as in VPT (Jia
    et al. 2022, arXiv 2203.12119). The classifier, a weight (K, D') and a bias (K,), reads the features that the whole
    model outputs (projected in the tail, for CLIP), normalised to mean 0 and variance 1 per image, so that learning
    rates mean the same for all models. Other parameters come in the order of the model's own `named_parameters`.

    Raises:
        ConfigError: the model has fewer blocks, or is not made of blocks.
    """

    def __init__(
        self,
        network: "Network",
        *,
        head_blocks: int,
        tail_blocks: int,
        num_prompt_tokens: int,
        deep_prompt: bool,
        num_classes: int,
        dtype: torch.dtype | None = None,
        role: Role = "all",
    ) -> None:
        dtype = dtype or network.torch_dtype
        self.num_prompt_tokens, self._network = num_prompt_tokens, network
        self._dtype, self._classes = dtype, num_classes
        self._exact = torch.promote_types(dtype, torch.float32)  # of the classifier
        self._layout = layout = layout_of(name := network.model.name, network.model.net)
        blocks = layout.blocks
        if head_blocks < 0 or tail_blocks < 0 or head_blocks + tail_blocks >= len(blocks):
            needed = "the body needs at least one of them"
            got = f"head_blocks={head_blocks} and tail_blocks={tail_blocks}"
            raise ConfigError(f"{name} has {len(blocks)} blocks; {needed}, got {got}")
        end = len(blocks) - tail_blocks
        self._blocks = {"head": blocks[:head_blocks], "body": blocks[head_blocks:end], "tail": blocks[end:]}
        self._last: dict[Part, tuple[Float32, Tensor]] = {}
        self._wrapper = _FunctionalWrapper(layout.net.to(dtype).requires_grad_(False))
        self._names = self._partition()
        with torch.no_grad():
            blank = network.preprocess(np.zeros((1, 3, *network.model.size), np.float32))
            embedded = layout.embed(blank.to(dtype))
            self._features = layout.pool(embedded).shape[1]
        self.width: int = embedded.shape[2]
        self._prompt = (max(1, head_blocks) if deep_prompt else 1, num_prompt_tokens, self.width)
        own: dict[Part, int] = {part: sum(p.numel() for p in names.values()) for part, names in self._names.items()}
        last = num_classes * (self._features + 1)
        self.sizes: Mapping[Part, int] = {"prompt": math.prod(self._prompt), **own, "classifier": last}
        self.identity = "" if role == "all" else self._body_sha256()
        self._kept = HELD_PARTS[role]
        for part in self._names.keys() - self._kept:
            for parameter in self._names[part].values():
                parameter.data = parameter.data.new_empty(0)

    def init(self, seed: int) -> Parameters:
        """The pretrained parameters of what is there; a prompt drawn as in VPT, a classifier of zeros."""
        bound = math.sqrt(6 / (3 * self._layout.patch + self._prompt[2]))
        prompt = np.random.default_rng(seed).uniform(-bound, bound, self.sizes["prompt"])
        own = {part: torch.cat([p.flatten() for p in self._names[part].values()]) for part in self._kept}
        both = {"prompt": torch.from_numpy(prompt), **own, "classifier": torch.zeros(self.sizes["classifier"])}
        found = {part: _numpy(vector.to(self._dtype)) for part, vector in both.items()}
        for values in found.values():
            values.flags.writeable = False  # so that `_frozen` can reuse its tensor
        return found

    def head(self, parameters: Parameters, inputs: Inputs, trained: frozenset[Part]) -> Forward:
        """See `SplitModel.head`."""
        given = self._given(parameters, trained, "prompt", "head")
        pixels = self._network.preprocess(inputs).to(self._dtype)
        return _passed(self._call("head", given, self._through_head, pixels, given["prompt"]), None, given)

    def body(self, parameters: Parameters, values: Float32, trained: frozenset[Part]) -> Forward:
        """See `SplitModel.body`. Its `vjp` gives the gradients at the input only where an earlier part is trained."""
        given = self._given(parameters, trained, "body")
        at = self._tensor(values).requires_grad_(bool(trained & UPSTREAM["body"]))
        return _passed(self._call("body", given, self._through, "body", at), at, given)

    def tail(self, parameters: Parameters, values: Float32, labels: Int64, trained: frozenset[Part]) -> LossOutput:
        """See `SplitModel.tail`."""
        given = self._given(parameters, trained, "tail", "classifier")
        at = self._tensor(values).requires_grad_(bool(trained & UPSTREAM["tail"]))
        logits = self._logits(given, at)
        losses = cross_entropy(logits, torch.tensor(labels, device=logits.device), reduction="none")
        back = _gradients(losses.mean(), None, at, given)
        return LossOutput(_numpy(losses), _numpy(logits.softmax(1)), back.values, back.gradients)

    def features(self, parameters: Parameters, values: Float32) -> Float32:
        """See `SplitModel.features`."""
        return _numpy(self._embedding(self._given(parameters, frozenset(), "tail"), self._tensor(values)))

    def predict(self, parameters: Parameters, values: Float32) -> Float32:
        """See `SplitModel.predict`."""
        given = self._given(parameters, frozenset(), "tail", "classifier")
        return _numpy(log_softmax(self._logits(given, self._tensor(values)), 1))

    def _body_sha256(self) -> str:
        digest = hashlib.sha256()
        for parameter in self._names["body"].values():
            digest.update(_numpy(parameter).tobytes())
        return digest.hexdigest()

    def _partition(self) -> dict[Part, dict[str, Tensor]]:
        """The model's own parameters, by part and name."""
        part_of = {id(p): part for part, blocks in self._blocks.items() for block in blocks for p in block.parameters()}
        names: dict[Part, dict[str, Tensor]] = {"head": {}, "body": {}, "tail": {}}
        outside = "head"  # parameters outside the blocks embed before the first block, and pool after the last
        for name, parameter in self._wrapper.named_parameters():
            if id(parameter) in part_of:
                outside = "tail"
            names[cast("Part", part_of.get(id(parameter), outside))][name] = parameter
        return names

    def _tensor(self, values: Float32, dtype: torch.dtype | None = None) -> Tensor:
        """A copy, so that later changes to `values` do not affect the backward pass."""
        return torch.tensor(values, dtype=dtype or self._dtype, device=self._network.device)

    def _given(self, parameters: Parameters, trained: frozenset[Part], *parts: Part) -> dict[Part, Tensor]:
        exact: dict[Part, torch.dtype] = {"classifier": self._exact}
        return {
            part: self._tensor(parameters[part], exact.get(part)).requires_grad_()
            if part in trained
            else self._frozen(part, parameters[part], exact.get(part))
            for part in parts
        }

    def _frozen(self, part: Part, values: Float32, dtype: torch.dtype | None) -> Tensor:
        """The tensor of parameters that are not trained; reused while the same read-only array comes in."""
        known, tensor = self._last.get(part, (None, None))
        if tensor is None or known is not values or values.flags.writeable:
            tensor = self._tensor(values, dtype)
            self._last[part] = values, tensor
        return tensor

    def _call(self, part: Part, given: Mapping[Part, Tensor], function: Callable[..., Tensor], *args: Any) -> Tensor:
        """Calls `function(*args)` while the model uses the given parameters for those of `part`."""
        own = self._names[part]
        pieces = given[part].split([p.numel() for p in own.values()])
        weights = {name: piece.view_as(p) for (name, p), piece in zip(own.items(), pieces, strict=True)}
        with sdpa_kernel(SDPBackend.MATH):  # the backward pass of fused kernels is not deterministic
            return torch.func.functional_call(self._wrapper, weights, (function, *args))

    def _through(self, part: Part, x: Tensor) -> Tensor:
        for block in self._blocks[part]:
            x = self._layout.block(block, x)
        return x

    def _through_head(self, pixels: Tensor, prompt: Tensor) -> Tensor:
        x = self._layout.embed(pixels)
        places = prompt.view(self._prompt)[:, None].expand(-1, len(pixels), -1, -1)  # (places, b, tokens, D)
        x = self._replace(x, 0, places[0])
        for i, block in enumerate(self._blocks["head"]):
            if 0 < i < len(places):
                x = self._replace(x, self.num_prompt_tokens, places[i])
            x = self._layout.block(block, x)
        return x

    def _through_tail(self, x: Tensor) -> Tensor:
        x = self._through("tail", x)
        return self._layout.pool(self._replace(x, self.num_prompt_tokens, x[:, :0]))

    def _replace(self, x: Tensor, there: int, tokens: Tensor) -> Tensor:
        """Replaces the `there` prompt tokens after the class token by `tokens` (b, n, D)."""
        return torch.cat([x[:, :1], tokens, x[:, 1 + there :]], 1)

    def _logits(self, given: Mapping[Part, Tensor], x: Tensor) -> Tensor:
        weight, bias = given["classifier"].split([self._classes * self._features, self._classes])
        return linear(self._embedding(given, x), weight.view(self._classes, -1), bias)

    def _embedding(self, given: Mapping[Part, Tensor], x: Tensor) -> Tensor:
        features = self._call("tail", given, self._through_tail, x)
        return layer_norm(features.to(self._exact), (self._features,))


class _FunctionalWrapper(nn.Module):
    """Lets `functional_call` replace a model's parameters during any function."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, function: Callable[..., Tensor], *args: Any) -> Tensor:
        return function(*args)


def _gradients(output: Tensor, gradients: Tensor | None, at: Tensor | None, given: Mapping[Part, Tensor]) -> Backward:
    """Gradients of the output's sum, weighted by `gradients`, for all tensors that require them."""
    wanted = [part for part, tensor in given.items() if tensor.requires_grad]
    leaves = [given[part] for part in wanted] + ([at] if at is not None and at.requires_grad else [])
    if not leaves:
        return Backward(None, {})
    found = [_numpy(g) for g in torch.autograd.grad(output, leaves, gradients, materialize_grads=True)]
    return Backward(found[-1] if len(found) > len(wanted) else None, dict(zip(wanted, found, strict=False)))


def _passed(output: Tensor, at: Tensor | None, given: Mapping[Part, Tensor]) -> Forward:
    if not output.requires_grad:  # there is nothing to differentiate
        return Forward(_numpy(output), lambda gradients: Backward(None, {}))
    kept = [(output, at, given)]

    def vjp(gradients: Float32) -> Backward:
        if not kept:
            raise RuntimeError("vjp may be called once")
        reached, start, weights = kept.pop()
        return _gradients(reached, torch.tensor(gradients, dtype=reached.dtype, device=reached.device), start, weights)

    return Forward(_numpy(output), vjp)


def _numpy(tensor: Tensor) -> Float32:
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return cast("Float32", wide.detach().cpu().numpy())

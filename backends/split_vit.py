"""A vision transformer cut between its blocks, for whoever holds its weights (`fedbbpt.split`)."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy, linear, log_softmax

from fedbbpt.errors import ConfigError
from fedbbpt.split import Judged, Part, Passed, Pulled
from fedbbpt.types import Float32, Inputs, Int64, Parameters

if TYPE_CHECKING:
    from fedbbpt_backends.local_vit import Network


class SplitViT:
    """See `fedbbpt.split.Split`. Takes `network` for itself, whose weights stay as they are; for one thread at a time.

    The prompt (tokens, D), or (head, tokens, D) if `deep`, stands behind the class token as in VPT (Jia et al. 2022,
    arXiv 2203.12119). The classifier, a weight (K, D') and a bias (K,), reads the features that the whole model gives:
    CLIP's are projected, in the tail. Other parameters come in the order of the model's own `named_parameters`.

    Raises:
        ConfigError: the model has fewer blocks, or is not made of blocks.
    """

    def __init__(
        self,
        network: "Network",
        *,
        head: int,
        tail: int,
        tokens: int,
        deep: bool,
        classes: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.tokens, self._network, self._dtype, self._classes = tokens, network, dtype, classes
        self._anatomy = anatomy = _dissect(name := network.model.name, network.model.net)
        blocks = anatomy.blocks
        if head < 1 or tail < 0 or head + tail >= len(blocks):
            needed = "head and body need at least one each"
            raise ConfigError(f"{name} has {len(blocks)} blocks; {needed}, got head={head} and tail={tail}")
        end = len(blocks) - tail
        self._blocks = {"head": blocks[:head], "body": blocks[head:end], "tail": blocks[end:]}
        self._lent = _Lent(anatomy.net.to(dtype).requires_grad_(False))
        self._names = self._partition()
        with torch.no_grad():
            embedded = anatomy.embed(torch.zeros(1, 3, *network.model.size, dtype=dtype, device=network.device))
            self._features = anatomy.pool(embedded).shape[1]
        self._prompt = (head if deep else 1, tokens, embedded.shape[2])
        own: dict[Part, int] = {part: sum(p.numel() for p in names.values()) for part, names in self._names.items()}
        last = classes * (self._features + 1)
        self.sizes: Mapping[Part, int] = {"prompt": math.prod(self._prompt), **own, "classifier": last}

    def init(self, seed: int) -> Parameters:
        """The pretrained parameters; a prompt drawn as in VPT, a classifier of zeros."""
        bound = math.sqrt(6 / (3 * self._anatomy.patch + self._prompt[2]))
        prompt = np.random.default_rng(seed).uniform(-bound, bound, self.sizes["prompt"])
        own = {part: torch.cat([p.flatten() for p in names.values()]) for part, names in self._names.items()}
        both = {"prompt": torch.from_numpy(prompt), **own, "classifier": torch.zeros(self.sizes["classifier"])}
        return {part: _numpy(vector.to(self._dtype)) for part, vector in both.items()}

    def head(self, parameters: Parameters, inputs: Inputs, trained: frozenset[Part]) -> Passed:
        """See `Split.head`."""
        given = self._given(parameters, trained, "prompt", "head")
        pixels = self._network.prepare(inputs).to(self._dtype)
        return _passed(self._call("head", given, self._through_head, pixels, given["prompt"]), None, given)

    def body(self, parameters: Parameters, values: Float32, trained: frozenset[Part]) -> Passed:
        """See `Split.body`. Its `pull` gives the gradients at the input only where an earlier part is trained."""
        given = self._given(parameters, trained, "body")
        at = self._tensor(values).requires_grad_(bool(trained & {"prompt", "head"}))
        return _passed(self._call("body", given, self._through, "body", at), at, given)

    def tail(self, parameters: Parameters, values: Float32, labels: Int64, trained: frozenset[Part]) -> Judged:
        """See `Split.tail`."""
        given = self._given(parameters, trained, "tail", "classifier")
        at = self._tensor(values).requires_grad_()
        logits = self._logits(given, at)
        losses = cross_entropy(logits, torch.tensor(labels, device=logits.device), reduction="none")
        back = _gradients(losses.mean(), None, at, given)
        return Judged(_numpy(losses), _numpy(logits.softmax(1)), cast("Float32", back.values), back.gradients)

    def predict(self, parameters: Parameters, values: Float32) -> Float32:
        """See `Split.predict`."""
        given = self._given(parameters, frozenset(), "tail", "classifier")
        return _numpy(log_softmax(self._logits(given, self._tensor(values)), 1))

    def _partition(self) -> dict[Part, dict[str, Tensor]]:
        """The model's own parameters by part, under their names."""
        part_of = {id(p): part for part, blocks in self._blocks.items() for block in blocks for p in block.parameters()}
        names: dict[Part, dict[str, Tensor]] = {"head": {}, "body": {}, "tail": {}}
        outside = "head"  # what is not in a block embeds, or, once the blocks are past, makes features
        for name, parameter in self._lent.named_parameters():
            if id(parameter) in part_of:
                outside = "tail"
            names[cast("Part", part_of.get(id(parameter), outside))][name] = parameter
        return names

    def _tensor(self, values: Float32) -> Tensor:
        """A copy, so that nobody's later changes reach into the way back."""
        return torch.tensor(values, dtype=self._dtype, device=self._network.device)

    def _given(self, parameters: Parameters, trained: frozenset[Part], *parts: Part) -> dict[Part, Tensor]:
        return {part: self._tensor(parameters[part]).requires_grad_(part in trained) for part in parts}

    def _call(self, part: Part, given: Mapping[Part, Tensor], function: Callable[..., Tensor], *args: Any) -> Tensor:
        """`function(*args)` while the model has the given parameters for those of its own in `part`."""
        own = self._names[part]
        pieces = given[part].split([p.numel() for p in own.values()])
        weights = {name: piece.view_as(p) for (name, p), piece in zip(own.items(), pieces, strict=True)}
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels add up in any order on their way back
            return torch.func.functional_call(self._lent, weights, (function, *args))

    def _through(self, part: Part, x: Tensor) -> Tensor:
        for block in self._blocks[part]:
            x = self._anatomy.block(block, x)
        return x

    def _through_head(self, pixels: Tensor, prompt: Tensor) -> Tensor:
        x, there = self._anatomy.embed(pixels), 0
        places = prompt.view(self._prompt)[:, None].expand(-1, len(pixels), -1, -1)  # (places, b, tokens, D)
        for i, block in enumerate(self._blocks["head"]):
            if i < len(places):
                x, there = self._replace(x, there, places[i]), self.tokens
            x = self._anatomy.block(block, x)
        return x

    def _through_tail(self, x: Tensor) -> Tensor:
        x = self._through("tail", x)
        return self._anatomy.pool(self._replace(x, self.tokens, x[:, :0]))

    def _replace(self, x: Tensor, there: int, tokens: Tensor) -> Tensor:
        """`tokens` (b, n, D) in the place of a prompt of `there` tokens; to the blocks all places are the same."""
        return torch.cat([x[:, :1], tokens, x[:, 1 + there :]], 1)

    def _logits(self, given: Mapping[Part, Tensor], x: Tensor) -> Tensor:
        weight, bias = given["classifier"].split([self._classes * self._features, self._classes])
        return linear(self._call("tail", given, self._through_tail, x), weight.view(self._classes, -1), bias)


class _Lent(nn.Module):
    """Lets `functional_call` put parameters into a model for the time of any function."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, function: Callable[..., Tensor], *args: Any) -> Tensor:
        return function(*args)


@dataclass(frozen=True)
class _Anatomy:
    """Where things are in a vision transformer. Its parameters are registered in the order in which they are passed."""

    net: nn.Module  # without any classifier of its own
    blocks: Sequence[nn.Module]
    embed: Callable[[Tensor], Tensor]  # normalised pixels (b, 3, h, w) -> (b, n, D)
    pool: Callable[[Tensor], Tensor]  # (b, n, D) behind the last block -> features (b, D')
    patch: int  # pixels of a patch
    block: Callable[[nn.Module, Tensor], Tensor] = lambda block, x: block(x)


def _dissect(name: str, net: Any) -> _Anatomy:
    if name.startswith("timm:"):
        from timm.models.vision_transformer import VisionTransformer

        kind, of_kind = type(net).__name__, _of_timm if isinstance(net, VisionTransformer) else None
    else:
        kind = net.config.model_type
        of_kind = {"vit": _of_vit, "deit": _of_vit, "clip": _of_clip, "clip_vision_model": _of_clip}.get(kind)
    if of_kind is None:
        raise ConfigError(f"{name} ({kind}) cannot be cut; ViT, DeiT, CLIP and timm's VisionTransformer can")
    return of_kind(net)


def _of_vit(net: Any) -> _Anatomy:
    net.set_attn_implementation("sdpa")  # the eager one rounds to float32 on the way, whatever it is given
    base = net.base_model
    blocks = base.layers if hasattr(base, "layers") else base.encoder.layer  # transformers 5, 4
    return _Anatomy(base, blocks, base.embeddings, lambda x: base.layernorm(x[:, 0]), base.config.patch_size**2)


def _of_clip(net: Any) -> _Anatomy:
    net.set_attn_implementation("sdpa")
    vision, project = net.vision_model, getattr(net, "visual_projection", nn.Identity())
    layers = vision.encoder.layers
    masks = [name for name in inspect.signature(layers[0].forward).parameters if name.endswith("attention_mask")]

    def block(layer: nn.Module, x: Tensor) -> Tensor:
        output = layer(x, **dict.fromkeys(masks))
        return output[0] if isinstance(output, tuple) else output  # a tuple in transformers 4

    return _Anatomy(
        net if hasattr(net, "visual_projection") else vision,
        blocks=layers,
        embed=lambda x: vision.pre_layrnorm(vision.embeddings(x)),
        pool=lambda x: project(vision.post_layernorm(x[:, 0])),
        patch=vision.config.patch_size**2,
        block=block,
    )


def _of_timm(net: Any) -> _Anatomy:
    net.reset_classifier(0)
    return _Anatomy(
        net,
        blocks=net.blocks,
        embed=lambda x: net.norm_pre(net.patch_drop(net._pos_embed(net.patch_embed(x)))),
        pool=lambda x: net.forward_head(net.norm(x), pre_logits=True),
        patch=math.prod(net.patch_embed.patch_size),
    )


def _gradients(output: Tensor, gradients: Tensor | None, at: Tensor | None, given: Mapping[Part, Tensor]) -> Pulled:
    """Those of the output's sum, weighted by `gradients`, where they are wanted."""
    wanted = [part for part, tensor in given.items() if tensor.requires_grad]
    leaves = [given[part] for part in wanted] + ([at] if at is not None and at.requires_grad else [])
    if not leaves:
        return Pulled(None, {})
    found = [_numpy(g) for g in torch.autograd.grad(output, leaves, gradients, materialize_grads=True)]
    return Pulled(found[-1] if len(found) > len(wanted) else None, dict(zip(wanted, found, strict=False)))


def _passed(output: Tensor, at: Tensor | None, given: Mapping[Part, Tensor]) -> Passed:
    kept = [(output, at, given)]

    def pull(gradients: Float32) -> Pulled:
        if not kept:
            raise RuntimeError("pull may be called once")
        reached, start, weights = kept.pop()
        return _gradients(reached, torch.tensor(gradients, dtype=reached.dtype, device=reached.device), start, weights)

    return Passed(_numpy(output), pull)


def _numpy(tensor: Tensor) -> Float32:
    return cast("Float32", tensor.detach().cpu().numpy())

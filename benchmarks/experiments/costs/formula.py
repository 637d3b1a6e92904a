"""A round's bytes and FLOPs by formulas of our own: SFPrompt's authors have published none.

q are the bytes of one sample at one cut, N tokens of D numbers, soft tokens included. Headers of messages are left out.

- FL: what is trained, down and up, 4 bytes a number.
- SFL: 4·q·n·E over the cuts, forward and back, down and up; only 2·q·n·E where nothing before the tail is trained, so
  that no gradients cross. What is trained, down and up, but for the body.
- SFPrompt: the same with the γ·n samples that pruning leaves.

Back through a product with parameters takes what it took forward for the gradients of its input, and as much again for
those of the parameters; back through attention takes twice what it took forward. Each of these is counted only where
something needs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from fedbbpt.split_learning.activations import ActivationDtype
from fedbbpt.split_learning.partition import TRAINABLE, Topology
from fedbbpt.split_learning.protocol import UPSTREAM, Part
from fedbbpt.split_learning.pruning import num_kept
from fedbbpt_benchmarks.experiments.costs.cost import Cost
from fedbbpt_benchmarks.experiments.costs.vit_sizes import Products, Shape

FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Setting:
    """What decides the cost besides the model: n samples, K classes, and options of `SFPrompt`."""

    samples: int
    classes: int
    head_blocks: int
    tail_blocks: int
    num_prompt_tokens: int
    deep_prompt: bool
    keep_fraction: float  # γ
    local_epochs: int  # U
    epochs: int  # E
    batch_size: int
    trainable: str
    topology: Topology
    activation_dtype: ActivationDtype

    @classmethod
    def of(cls, options: Mapping[str, Any], samples: int, classes: int) -> "Setting":
        """With the options of an algorithm as a config has them."""
        chosen = {field.name: options[field.name] for field in fields(cls) if field.name in options}
        return cls(samples, classes, **chosen)


def cost(shape: Shape, setting: Setting) -> Cost:
    """Of one client and one round."""
    return _Round(shape, setting).cost


@dataclass(frozen=True)
class _Round:
    shape: Shape
    setting: Setting

    @cached_property
    def cost(self) -> Cost:
        s, used = self.setting, num_kept(self.setting.keep_fraction, self.setting.samples)
        sent = FLOAT32 * sum(self.sizes[part] for part in self.trained if part != "body" or s.topology == "federated")
        ways = 2 if self.trained & UPSTREAM["tail"] else 1  # forward, and back
        batches = s.epochs * -(-used // s.batch_size) if s.topology == "split" else 0
        traffic = s.epochs * used * ways * self.at_a_cut if s.topology == "split" else 0
        updates, scored, passed = s.local_epochs * s.samples, s.samples if used < s.samples else 0, s.epochs * used
        client = (updates + scored + passed) * self.forward("head", "tail")
        client += (updates + passed) * self.backward("head", "tail")
        server = passed * (self.forward("body") + self.backward("body"))
        if s.topology == "federated":
            client, server = client + server, 0
        return Cost(sent, sent, traffic, traffic, 2 + 2 * ways * batches, client, server)

    @cached_property
    def sizes(self) -> Mapping[Part, int]:
        s = self.setting
        places = max(1, s.head_blocks) if s.deep_prompt else 1
        return self.shape.sizes(s.head_blocks, s.tail_blocks, places * s.num_prompt_tokens, s.classes)

    @cached_property
    def trained(self) -> frozenset[Part]:
        return frozenset(part for part in TRAINABLE[self.setting.trainable] if self.sizes[part])

    @property
    def tokens(self) -> int:
        """N, in every block, wherever the soft tokens are put in."""
        return self.shape.patches + 1 + self.setting.num_prompt_tokens

    @property
    def at_a_cut(self) -> int:
        """q, in bytes; int8 has a scale of 4 bytes for each token."""
        token = {"float32": 4 * self.shape.width, "bfloat16": 2 * self.shape.width, "int8": self.shape.width + 4}
        return self.tokens * token[self.setting.activation_dtype]

    def products(self, part: Part) -> dict[str, Products]:
        s, block = self.setting, self.shape.through_block(self.tokens)
        head, tail = s.head_blocks, s.tail_blocks
        blocks = {"head": head, "body": self.shape.blocks - head - tail, "tail": tail}[part]
        found = {"blocks": Products(*(blocks * count for count in block))}
        if part == "head":
            found["embedding"] = self.shape.embedding
        if part == "tail":
            found["classifier"] = self.shape.classifier(s.classes)
        return found

    def forward(self, *parts: Part) -> int:
        """FLOPs of a sample."""
        return sum(sum(products) for part in parts for products in self.products(part).values())

    def backward(self, *parts: Part) -> int:
        """FLOPs of a sample. The pixels need no gradients, and neither does what lies before all that is trained."""
        total = 0
        for part in parts:
            inside = part in self.trained
            through = inside or bool(self.trained & UPSTREAM[part])  # a block's first norm needs gradients if trained
            for name, products in self.products(part).items():
                of_inputs = through and name != "embedding"
                of_parameters = inside or name == "classifier"  # which all methods train
                total += (of_inputs + of_parameters) * products.linear + 2 * through * products.attention
        return total

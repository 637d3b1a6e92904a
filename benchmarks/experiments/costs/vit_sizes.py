"""The sizes of a plain vision transformer, which are all that costs depend on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fedbbpt.errors import ConfigError
from fedbbpt.split_learning.protocol import Part
from fedbbpt_backends import embedded


class Products(NamedTuple):
    """FLOPs of one sample on the way forward, 2 for a multiply-add."""

    linear: int  # of activations with parameters
    attention: int = 0  # of activations with each other


@dataclass(frozen=True)
class Shape:
    """A class token before the patches, learned positions, `blocks` blocks, and a norm behind them."""

    name: str
    blocks: int
    width: int  # D
    mlp: int  # M
    patches: int  # of an image
    patch: int  # P, pixels of its side

    @property
    def embedding(self) -> Products:
        """A product of each patch's 3·P² pixels with D filters."""
        return Products(2 * self.patches * 3 * self.patch**2 * self.width)

    def through_block(self, tokens: int) -> Products:
        """N tokens through query, key, value, output and both layers of the MLP; and QKᵀ and its product with V."""
        linear = 4 * tokens * self.width**2 + 2 * tokens * self.width * self.mlp
        return Products(2 * linear, 4 * tokens**2 * self.width)

    def classifier(self, classes: int) -> Products:
        """Of the class token alone."""
        return Products(2 * self.width * classes)

    def sizes(self, head: int, tail: int, prompt: int, classes: int) -> dict[Part, int]:
        """How many parameters each part has, with a prompt of so many tokens, over all places.

        Raises:
            ConfigError: the model has fewer blocks.
        """
        if head + tail >= self.blocks:
            raise ConfigError(
                f"{self.name} has {self.blocks} blocks, too few for head_blocks={head} and tail_blocks={tail}"
            )
        norm = 2 * self.width
        block = 4 * (self.width + 1) * self.width + 2 * self.width * self.mlp + self.mlp + self.width + 2 * norm
        embedding = (3 * self.patch**2 + 1) * self.width + self.width + (self.patches + 1) * self.width
        return {
            "prompt": prompt * self.width,
            "head": embedding + head * block,
            "body": (self.blocks - head - tail) * block,
            "tail": tail * block + norm,
            "classifier": (self.width + 1) * classes,
        }


# 224 pixels of a side; Dosovitskiy et al. 2021 (arXiv 2010.11929), table 1.
VIT_B = Shape("ViT-B/16", blocks=12, width=768, mlp=3072, patches=14 * 14, patch=16)
VIT_L = Shape("ViT-L/16", blocks=24, width=1024, mlp=4096, patches=14 * 14, patch=16)


def embedded_shape() -> Shape:
    """That of the model that comes with the package."""
    return shape_of("embedded", json.loads((embedded.FOLDER / "config.json").read_text("utf-8")))


def shape_of(name: str, config: Mapping[str, Any]) -> Shape:
    """From a model's settings as Hugging Face writes them.

    Raises:
        ConfigError: it is no plain ViT.
    """
    if config.get("model_type") != "vit":
        raise ConfigError(
            f"the formulas are those of a plain ViT, and {name} is none; use --model embedded, or dir:PATH or hf:ID of "
            "one whose model_type is vit"
        )
    return Shape(
        name,
        config["num_hidden_layers"],
        config["hidden_size"],
        config["intermediate_size"],
        (config["image_size"] // config["patch_size"]) ** 2,
        config["patch_size"],
    )

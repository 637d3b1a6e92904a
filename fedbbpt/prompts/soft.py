"""Soft prompts of Black-Box Tuning: vectors before the text (BBT: Sun et al. 2022, ICML, arXiv 2201.03514)."""

from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from fedbbpt.backend import Embeddings, Modality
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.prompts import Prompt
from fedbbpt.types import Float32, Floats, Inputs, Prompted


class Soft(Prompt):
    """Vectors before the text, in place of words: any points of the model's embedding space.

    The `num_tokens` vectors (num_tokens, width) are A θ, with the `dim` trained numbers θ and A (num_tokens · width,
    dim), drawn once from `seed`, its entries normal with standard deviation α σ_e / √dim, σ_e that of the model's own
    embeddings: θ of size 1 a number gives vectors as large as the model's own, times `alpha`. Everybody who is to use
    the same θ needs the same `seed`. The start θ = 0 gives vectors of zeros (BBT's p₀ = 0), which the model reads as
    well: it is not the text alone.

    `dim` and `alpha` are the paper's, which takes 50 vectors: each is one more token in every query, so that 50 would
    cost more than most texts themselves.

    >>> import numpy as np
    >>> from fedbbpt.backend import Embeddings
    >>> prompt = Soft(Embeddings(width=24, std=0.1), dim=6, num_tokens=2)
    >>> (prompted,) = prompt.apply(np.ones((1, 6)), np.array(["I liked it."], object), None)
    >>> prompted.soft_prompt.shape
    (2, 24)
    """

    modalities: tuple[Modality, ...] = ("text",)
    uses_embeddings = True

    def __init__(
        self,
        embeddings: Embeddings | None,
        /,
        *,
        dim: Annotated[int, Field(gt=0, le=500)] = 500,
        num_tokens: PositiveInt = 10,
        alpha: PositiveFloat = 1.0,
        seed: NonNegativeInt = 0,
    ) -> None:
        if embeddings is None:
            raise ConfigError(
                "prompt 'soft' needs a model that reads vectors in place of words (a local one: --backend hf-text "
                "-o backend.model=smollm2); use --prompt discrete or --prompt instruction"
            )
        self.dim = dim
        self._shape = num_tokens, embeddings.width
        std = np.float32(alpha * embeddings.std / np.sqrt(dim))
        drawn = np.random.default_rng(seed).standard_normal((dim, num_tokens * embeddings.width), np.float32)
        self._projection = std * drawn  # Aᵀ

    def apply(self, theta: Floats, inputs: Inputs, features: Float32 | None) -> Inputs:
        """See `Prompt`. All texts of a candidate share one array of vectors, which a model may read once for all."""
        prefixes = (theta.astype(np.float32) @ self._projection).reshape(-1, *self._shape)  # (n, num_tokens, width)
        return as_texts([Prompted(text, soft_prompt=prefix) for prefix in prefixes for text in inputs])

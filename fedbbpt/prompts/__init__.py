"""Prompts: pure functions of a flat parameter vector θ and the inputs."""

from abc import abstractmethod
from typing import ClassVar, Protocol

import numpy as np

from fedbbpt.backend import Modality
from fedbbpt.types import Float32, Floats, Inputs


class Prompt(Protocol):
    """A pure function (θ, inputs) → prompted inputs.

    A prompt's class takes the image size (h, w), None for texts, as its one positional argument, and its options by
    keyword. A prompt that wraps another takes that one, built, as its second positional argument. One that uses
    embeddings takes the model's `Embeddings`, or None where the model reads none, in place of the size.

    A prompt with `choices` chooses among that many things at each of its positions. It reads θ as (positions, choices)
    and takes at each position the choice with the largest number, so that a sample of choices is a candidate like any
    other: rows of ones and zeros.
    """

    wraps: ClassVar[bool] = False  # whether it stands around another prompt, named as `outer:inner`
    uses_embeddings: ClassVar[bool] = False  # whether it puts vectors in place of words
    learns_vocabulary: ClassVar[bool] = False  # whether its empty option `vocabulary` is filled from the clients' texts
    choices: int | None = None  # at each position; None: θ is any vector

    dim: int  # d, the number of parameters
    modalities: tuple[Modality, ...]  # what it can be applied to

    def init(self, rng: np.random.Generator) -> Float32:
        """Initial θ (d,): zeros, unless a prompt overrides this."""
        return np.zeros(self.dim, np.float32)

    def features(self, inputs: Inputs) -> Float32 | None:
        """Features (b, D) of inputs (b, …) that `apply` needs beside them; None unless a prompt overrides this.

        They depend on the inputs alone, so that they are computed once per example and kept.
        """
        return None

    @abstractmethod
    def apply(self, theta: Floats, inputs: Inputs, features: Float32 | None) -> Inputs:
        """Prompts inputs (b, …) under each candidate θ (n, d): (n·b, …), candidate by candidate.

        Images are float32 and stay in [0, 1]. `features` are those that `features` returns for the same inputs.
        """


def add(pictures: Float32, inputs: Float32) -> Float32:
    """Adds each of n pictures (n, 3, h, w) to each of b inputs (b, 3, h, w): (n·b, 3, h, w), clipped to [0, 1]."""
    sums = pictures[:, None] + inputs  # (n, b, 3, h, w)
    return np.clip(sums, 0, 1, out=sums).reshape(-1, *inputs.shape[1:])

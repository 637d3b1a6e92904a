"""The contract of prompts: pure functions of θ and the inputs.

def test_my_prompt():
    check_prompt(MyPrompt, strength=0.2)
    check_prompt(Subspace, MyPrompt, dim=3)  # one prompt around another
"""

from copy import copy
from typing import Any

import numpy as np

from fedbbpt.backend import Embeddings
from fedbbpt.config.components import assemble_prompt
from fedbbpt.prompts import Prompt
from fedbbpt.testing.expect import expect
from fedbbpt.testing.prompt_basics import apply, expect_features, expect_start, thetas
from fedbbpt.testing.text_prompts import TEXT_PROMPT_CHECKS
from fedbbpt.types import Float32, Inputs

SIZES = ((16, 24), (21, 13), (8, 8))  # (h, w) of the images that prompts are tried on
EMBEDDINGS = Embeddings(16, 0.05)


def check_prompt(*classes: type[Prompt], **options: Any) -> None:
    """Checks all promises of `Prompt`, on images of several sizes, or on texts if it is for texts alone.

    Args:
        classes: the prompt's class, and that of the prompt that it wraps, if any.
        options: those of both that are not to have their defaults.

    Raises:
        ContractError: a promise is broken; says which.
    """
    expect(all(Prompt in kind.__mro__ for kind in classes), "the class derives from Prompt")
    modalities = classes[-1].modalities
    for size in SIZES if "image" in modalities else ():
        prompt = assemble_prompt(classes, options, size)
        expect(prompt.modalities == modalities, "the modalities are known before it is built")
        for check in IMAGE_PROMPT_CHECKS:
            check(prompt, images(4, size))
    if modalities == ("text",):
        prompt = assemble_prompt(classes, options, None, EMBEDDINGS)
        expect(prompt.modalities == modalities, "the modalities are known before it is built")
        for check_text in TEXT_PROMPT_CHECKS:
            check_text(prompt)


def images(count: int, size: tuple[int, int]) -> Float32:
    """Noise with a black band: the edge of the valid range."""
    pixels = np.random.default_rng(1).integers(0, 256, (count, 3, *size))
    pixels[:, :, : size[0] // 3] = 0
    return pixels.astype(np.float32) / np.float32(255)


def check_init(prompt: Prompt, inputs: Inputs) -> None:
    """`init` gives a float32 vector (dim,) that depends on the generator alone."""
    expect_start(prompt)


def check_range(prompt: Prompt, inputs: Inputs) -> None:
    """Prompted images are images, whatever θ is."""
    for dtype in (np.float32, np.float64):
        prompted = apply(prompt, (20 * thetas(prompt)).astype(dtype), inputs)
        expect(prompted.shape == (3 * len(inputs), *inputs.shape[1:]), "apply gives (n·b, 3, h, w)")
        expect(prompted.dtype == np.float32, "prompted images are float32")
        expect(prompted.min() >= 0 and prompted.max() <= 1, "prompted images stay in [0, 1]")


def check_independence(prompt: Prompt, inputs: Inputs) -> None:
    """Candidates come first, and neither candidates nor images touch each other."""
    candidates = thetas(prompt)
    together = apply(prompt, candidates, inputs)
    singles = np.concatenate([apply(prompt, theta[None], inputs) for theta in candidates])
    expect(np.allclose(together, singles, rtol=0, atol=1e-6), "candidates come first, each as if it were alone")
    singles = np.concatenate([apply(prompt, candidates[:1], inputs[i : i + 1]) for i in range(len(inputs))])
    alone = np.allclose(together[: len(inputs)], singles, rtol=0, atol=1e-6)
    expect(alone, "images do not touch each other")


def check_features(prompt: Prompt, inputs: Inputs) -> None:
    """Features are float32, a row an input, and depend on that input alone."""
    expect_features(prompt, inputs)


def check_purity(prompt: Prompt, inputs: Inputs) -> None:
    """Same in, same bits out; arguments stay as they are, and what comes out is the caller's own."""
    candidates, features = thetas(prompt), prompt.features(inputs)
    before = candidates.copy(), inputs.copy(), copy(features)
    first = prompt.apply(candidates, inputs, features)
    kept = first.copy()
    expect(np.array_equal(prompt.apply(candidates, inputs, features), kept), "the same arguments give the same bits")
    expect(np.array_equal(first, kept), "prompted images, once handed out, stay as they were")
    first[:] = 0.5
    apply(prompt, prompt.init(np.random.default_rng(0))[None], inputs)[:] = 0.5
    expect(np.array_equal(candidates, before[0]), "θ stays as it was")
    expect(np.array_equal(inputs, before[1]), "inputs stay as they were, whatever becomes of the prompted ones")
    same = features is None or before[2] is None or np.array_equal(features, before[2])
    expect(same, "features stay as they were")


def check_precision(prompt: Prompt, inputs: Inputs) -> None:
    """θ in float32 and in float64 give nearly the same."""
    single, double = (apply(prompt, thetas(prompt).astype(kind), inputs) for kind in (np.float32, np.float64))
    expect(np.allclose(single, double, rtol=0, atol=1e-4), "the precision of θ hardly matters")


def check_effect(prompt: Prompt, inputs: Inputs) -> None:
    """Parameters change the picture, and no parameters do not."""
    start = apply(prompt, prompt.init(np.random.default_rng(0))[None], inputs)
    change = np.abs(apply(prompt, 3 * thetas(prompt, 1), inputs) - start).mean()
    expect(change > 0.01 if prompt.dim else change == 0, f"parameters change the picture: by {change:.4f} on average")


def check_8_bits(prompt: Prompt, inputs: Inputs) -> None:
    """Half a unit of θ is seen by a model that reads 8 bits a pixel."""
    rng = np.random.default_rng(3)
    signs = rng.choice([-1.0, 1.0], (4, prompt.dim))
    start = prompt.init(rng)
    prompted = apply(prompt, np.concatenate([start[None], start + 0.5 * signs, start + 5 * signs]), inputs)
    rounded = np.round(prompted * 255).astype(np.uint8)
    expect(np.abs(rounded / np.float32(255) - prompted).max() < 1 / 510 + 1e-6, "prompted images fit into 8 bits")
    b = len(inputs)
    before, large = prompted[:b], prompted[5 * b :].reshape(4, b, *inputs.shape[1:])
    touched = (large != before).any((0, 1))  # (3, h, w)
    changed = (rounded[b : 5 * b].reshape(large.shape) != rounded[:b])[:, :, touched]
    seen = changed.mean() > 0.2 if prompt.dim else not touched.any()
    expect(bool(seen), "half a unit of θ changes a fifth of the pixels that θ can change, in 8 bits")


IMAGE_PROMPT_CHECKS = (
    check_init,
    check_range,
    check_independence,
    check_features,
    check_purity,
    check_precision,
    check_effect,
    check_8_bits,
)

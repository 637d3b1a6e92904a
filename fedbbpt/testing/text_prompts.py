"""The contract of prompts for texts: they stand around a text, which stays what it is."""

from typing import Any

import numpy as np

from fedbbpt.data.texts import as_texts
from fedbbpt.prompts import Prompt
from fedbbpt.testing.expect import expect
from fedbbpt.testing.prompt_basics import apply, expect_features, expect_start, thetas
from fedbbpt.types import Inputs, Prompted

TEXTS = as_texts(["a film", "", "  two\nlines, ünd more ", "a film"])


def check_init(prompt: Prompt) -> None:
    """`init` gives a float32 vector (dim,) that depends on the generator alone; dim is a multiple of the choices."""
    expect_start(prompt)
    expect(prompt.dim % (prompt.choices or 1) == 0, "dim is a multiple of the choices at each position")


def check_texts(prompt: Prompt) -> None:
    """Prompted texts hold the texts as they came, and are what a reader of plain strings should see."""
    for dtype in (np.float32, np.float64):
        prompted = apply(prompt, (20 * thetas(prompt)).astype(dtype), TEXTS)
        expect(prompted.shape == (3 * len(TEXTS),) and prompted.dtype == object, "apply gives an object array (n·b,)")
        expect(all(isinstance(one, Prompted) for one in prompted), "prompted texts are of the type Prompted")
        expect([one.text for one in prompted] == 3 * list(TEXTS), "prompted texts hold the texts as they came")
        for one in prompted:
            shown = one.prefix + one.text + one.suffix
            expect(one.endswith(shown), "a prompted text reads as prefix, text, suffix")
            expect(bool(one.examples) or len(one) == len(shown), "nothing but examples stands before the prefix")


def check_independence(prompt: Prompt) -> None:
    """Candidates come first, and neither candidates nor texts touch each other."""
    candidates = thetas(prompt)
    singles = [apply(prompt, t[None], TEXTS[i : i + 1]) for t in candidates for i in range(len(TEXTS))]
    alone = _alike(apply(prompt, candidates, TEXTS), np.concatenate(singles))
    expect(alone, "candidates come first, and texts do not touch each other")


def check_features(prompt: Prompt) -> None:
    """Features are float32, a row a text, and depend on that text alone."""
    expect_features(prompt, TEXTS)


def check_purity(prompt: Prompt) -> None:
    """Same in, same out; arguments stay as they are."""
    candidates, inputs = thetas(prompt), TEXTS.copy()
    before = candidates.copy()
    first = _parts(apply(prompt, candidates, inputs))
    expect(_parts(apply(prompt, candidates, inputs)) == first, "the same arguments give the same texts")
    expect(np.array_equal(candidates, before), "θ stays as it was")
    expect(list(inputs) == list(TEXTS) and all(type(one) is str for one in inputs), "inputs stay as they were")


def check_precision(prompt: Prompt) -> None:
    """θ in float32 and in float64 give the same, up to the last bits of a vector."""
    single, double = (apply(prompt, thetas(prompt).astype(kind), TEXTS) for kind in (np.float32, np.float64))
    expect(_alike(single, double), "the precision of θ does not matter")


def check_start(prompt: Prompt) -> None:
    """Training starts from the text itself."""
    prompted = apply(prompt, prompt.init(np.random.default_rng(0))[None], TEXTS)
    expect(list(prompted) == list(TEXTS), "the initial θ leaves texts as they are")
    vectors = [one.soft_prompt is not None for one in prompted]
    expect(vectors == [prompt.uses_embeddings] * len(TEXTS), "vectors stand before a text if it uses_embeddings")


def check_effect(prompt: Prompt) -> None:
    """Parameters change what the model reads."""
    start = apply(prompt, prompt.init(np.random.default_rng(0))[None], TEXTS)
    changed = not any(_alike(apply(prompt, theta[None], TEXTS), start) for theta in thetas(prompt))
    expect(changed, "parameters change what the model reads")


def check_choices(prompt: Prompt) -> None:
    """At each position, the choice with the largest number is taken, however large it is."""
    if prompt.choices:
        drawn = np.random.default_rng(0).integers(0, prompt.choices, (6, prompt.dim // prompt.choices))
        rows = np.eye(prompt.choices)[drawn].reshape(6, -1)
        shown = _parts(apply(prompt, rows, TEXTS))
        for other in (7 * rows - 3, np.where(rows > 0, 1e-3, -1e3)):
            same = _parts(apply(prompt, other, TEXTS)) == shown
            expect(same, "the choice with the largest number is taken, however large it is")


def _worded(one: Prompted) -> tuple[Any, ...]:
    return str(one), one.prefix, one.text, one.suffix, one.examples


def _parts(prompted: Inputs) -> list[tuple[Any, ...]]:
    """All that a model may read of prompted texts."""
    vectors = [None if one.soft_prompt is None else one.soft_prompt.tolist() for one in prompted]
    return [(*_worded(one), vector) for one, vector in zip(prompted, vectors, strict=True)]


def _alike(some: Inputs, others: Inputs) -> bool:
    """Whether a model reads the same, to the last bits of a vector."""

    def close(a: Any, b: Any) -> bool:
        return a is b is None or (a is not None and b is not None and np.allclose(a, b, rtol=0, atol=1e-6))

    return len(some) == len(others) and all(
        _worded(a) == _worded(b) and close(a.soft_prompt, b.soft_prompt) for a, b in zip(some, others, strict=True)
    )


TEXT_PROMPT_CHECKS = (
    check_init,
    check_texts,
    check_independence,
    check_features,
    check_purity,
    check_precision,
    check_start,
    check_effect,
    check_choices,
)

"""What every registered prompt promises."""

from typing import Any

import numpy as np
import pytest

from fedbbpt import registry
from fedbbpt.config.components import build_prompt, load_class, modalities_of, resolve
from fedbbpt.prompts import Prompt
from fedbbpt.prompts.dct import Dct
from fedbbpt.prompts.subspace import Subspace
from fedbbpt.testing import ContractError, check_prompt
from fedbbpt.testing.prompts import EMBEDDINGS, IMAGE_PROMPT_CHECKS, SIZES, images
from fedbbpt.testing.text_prompts import TEXT_PROMPT_CHECKS
from fedbbpt.types import Size

REGISTERED = registry.names("prompts")
WRAPPING = [name for name in REGISTERED if load_class("prompts", name).wraps]
INSIDE = ["padding", "coordinator", "low-rank", "discrete"]
NAMES = sorted([*(set(REGISTERED) - set(WRAPPING)), *(f"{outer}:{inner}" for outer in WRAPPING for inner in INSIDE)])
FOR_IMAGES = [name for name in NAMES if "image" in modalities_of(name)]
FOR_TEXTS = [name for name in NAMES if modalities_of(name) == ("text",)]
WORDS = {"vocabulary": ["good", "bad", "so so", "film", "plot"], "num_tokens": 4}
OPTIONS: dict[str, dict[str, Any]] = {
    "coordinator": {"encoder": "pixels"},
    "discrete": WORDS,
    "subspace:coordinator": {"encoder": "pixels", "projection": "gaussian"},
    "subspace:discrete": WORDS | {"dim": 12},
    "subspace:padding": {"dim": 64},
    "subspace:low-rank": {"dim": 48},
}


def make(name: str, size: Size) -> Prompt:
    return build_prompt(resolve("prompts", name, OPTIONS.get(name, {})), size, None if size else EMBEDDINGS)


@pytest.mark.parametrize("check", IMAGE_PROMPT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", FOR_IMAGES)
def test_keeps_its_promises(name: str, size: tuple[int, int], check: Any) -> None:
    check(make(name, size), images(4, size))


@pytest.mark.parametrize("check", TEXT_PROMPT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", FOR_TEXTS)
def test_keeps_its_promises_for_texts(name: str, check: Any) -> None:
    check(make(name, None))


@pytest.mark.parametrize("name", NAMES)
def test_modalities_are_known_before_it_is_built(name: str) -> None:
    assert Prompt in load_class("prompts", name).__mro__
    size = (8, 8) if name in FOR_IMAGES else None
    assert make(name, size).modalities == modalities_of(name)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", FOR_IMAGES)
def test_training_starts_from_the_picture_itself(name: str, size: tuple[int, int]) -> None:
    prompt, inputs = make(name, size), images(3, size)
    prompted = prompt.apply(prompt.init(np.random.default_rng(0))[None], inputs, prompt.features(inputs))
    assert np.array_equal(prompted, inputs) != (name == "reprogram")  # which has to make room for its border


def test_both_of_two_prompts_are_checked_with_their_options() -> None:
    check_prompt(Subspace, Dct, dim=9, frequencies=4)


class Bright(Dct):
    """Leaves [0, 1]."""

    def apply(self, theta: Any, inputs: Any, features: Any) -> Any:
        return super().apply(theta, inputs, features) * np.float32(2)


def test_what_breaks_a_promise_is_told_which() -> None:
    with pytest.raises(ContractError, match=r"stay in \[0, 1\]"):
        check_prompt(Bright)

import numpy as np
import pytest

from fedbbpt.backend import Embeddings
from fedbbpt.config.components import build_prompt, modalities_of, resolve
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.prompts.soft import Soft

WORDS = Embeddings(width=24, std=0.04)
TEXTS = as_texts(["a plain text", "", "ein zweiter Text"])


def prefix(prompt, theta):
    """(length, width) under one θ."""
    return prompt.apply(theta[None], TEXTS[:1], None)[0].soft_prompt


def thetas(count, dim=500):
    return np.random.default_rng(3).normal(size=(count, dim))


@pytest.mark.parametrize("alpha", [1.0, 2.5])
def test_entries_have_the_spread_of_the_papers_projection(alpha):
    prompt = Soft(Embeddings(768, 0.04), dim=400, alpha=alpha)
    entries = np.stack([prefix(prompt, unit) for unit in np.eye(400)[:20]])  # columns of A
    assert entries.std() == pytest.approx(alpha * 0.04 / np.sqrt(400), rel=0.01)
    assert abs(entries.mean()) < 0.01 * entries.std()


@pytest.mark.parametrize("dim", [10, 500])
def test_numbers_of_size_one_give_vectors_like_the_models_own(dim):
    prompt = Soft(WORDS, dim=dim)
    drawn = np.stack([prefix(prompt, theta) for theta in thetas(200, dim)])
    assert drawn.std() == pytest.approx(WORDS.std, rel=0.1)


def test_vectors_are_linear_in_theta():
    prompt, (one, other) = Soft(WORDS, num_tokens=3), thetas(2)
    both = 2 * prefix(prompt, one) - 0.5 * prefix(prompt, other)
    assert both.shape == (3, 24)
    assert np.allclose(prefix(prompt, 2 * one - 0.5 * other), both, rtol=0, atol=1e-6)


def test_it_starts_with_vectors_of_zeros():
    prompt = Soft(WORDS, num_tokens=7)
    start = prompt.init(np.random.default_rng(0))
    assert start.dtype == np.float32
    assert np.array_equal(prefix(prompt, start), np.zeros((7, 24)))


def test_texts_of_a_candidate_share_one_array():
    prompted = Soft(WORDS).apply(thetas(2), TEXTS, None)
    assert prompted.shape == (6,)
    assert prompted.dtype == object
    for candidate in (prompted[:3], prompted[3:]):
        assert len({id(one.soft_prompt) for one in candidate}) == 1
        assert [one.text for one in candidate] == list(candidate) == list(TEXTS)
    assert prompted[0].soft_prompt.shape == (10, 24)
    assert prompted[0].soft_prompt.dtype == np.float32
    assert prompted[0].soft_prompt.flags.writeable  # torch warns of others
    assert not np.allclose(prompted[0].soft_prompt, prompted[3].soft_prompt)


def test_seed_alone_decides_the_projection():
    (theta,) = thetas(1)
    again, other = Soft(WORDS), Soft(WORDS, seed=1)
    assert np.array_equal(prefix(Soft(WORDS), theta), prefix(again, theta))
    assert not np.allclose(prefix(again, theta), prefix(other, theta))


def test_a_model_without_embeddings_is_refused():
    with pytest.raises(ConfigError, match=r"reads vectors in place of words .*--prompt discrete"):
        build_prompt(resolve("prompts", "soft", {}), None)


def test_it_is_built_by_name_for_a_models_embeddings():
    prompt = build_prompt(resolve("prompts", "soft", {"num_tokens": 2, "dim": 8}), None, WORDS)
    assert prompt.dim == 8
    assert prefix(prompt, np.ones(8)).shape == (2, 24)
    assert modalities_of("soft") == prompt.modalities == ("text",)


def test_more_than_500_numbers_are_refused():
    with pytest.raises(ConfigError, match=r"prompt\.dim: input should be less than or equal to 500"):
        resolve("prompts", "soft", {"dim": 501})

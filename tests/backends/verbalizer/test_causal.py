"""Label words by a causal model: what is computed side by side equals one class at a time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.types import Prompted
from fedbbpt_backends import causal
from fedbbpt_backends.hf_text import HfText

Open, Score = Callable[..., HfText], Callable[..., list[float]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`--assets`: also with the real model, fetched on first use."""
    if "real" in metafunc.fixturenames:
        models = {"small": False} | ({"smollm2": True} if metafunc.config.getoption("--assets") else {})
        metafunc.parametrize("real", models.values(), ids=models.keys())


def test_all_words_of_all_contexts_at_once_equal_one_at_a_time(
    open_backend: Open, one_at_a_time: Score, texts: list[str], provider: Provider
) -> None:
    backend = open_backend("causal", template="{text} {question} :")
    scores, tokens, *_ = backend.query(as_texts(texts))
    expected = [one_at_a_time(backend, f"{text} Sentiment :") for text in texts]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert tokens == sum(len(text.split()) + 2 for text in texts)
    assert backend.info.classes == provider.classes


def test_the_same_holds_for_the_default_template_and_real_models(
    open_backend: Open, real: bool, texts: list[str]
) -> None:
    backend = open_backend("smollm2" if real else "causal")
    net, verbalizer = backend.network.model.net, backend.verbalizer
    prompted = [Prompted(text, "read this : ") for text in texts]
    scores = backend.query(as_texts(prompted)).scores
    for text, row in zip(prompted, scores, strict=True):
        context = verbalizer.context(text)
        before = [*context.prefix, *context.text, *context.suffix]
        for word, score in zip(verbalizer.label_ids, row, strict=True):
            with torch.no_grad():
                log_p = net(input_ids=torch.tensor([[*before, *word]])).logits[0].log_softmax(-1)
            expected = sum(log_p[len(before) + j - 1, token].item() for j, token in enumerate(word))
            assert score == pytest.approx(expected, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("min_saved", [1, 10_000])
def test_a_prompt_that_is_read_once_for_all_changes_nothing(
    open_backend: Open,
    min_saved: int,
    monkeypatch: pytest.MonkeyPatch,
    one_at_a_time: Score,
    texts: list[str],
) -> None:
    monkeypatch.setattr(causal, "MIN_SAVED_TOKENS", min_saved)
    backend = open_backend("causal", template="{text} {question} :")
    parts = [("read this : ", ""), ("", " what is it"), ("read this : ", " so"), ("sort it carefully ", "")]
    prompted = [Prompted(text, before, after) for before, after in parts for text in texts]
    scores = backend.query(as_texts(prompted)).scores
    np.testing.assert_allclose(scores, [one_at_a_time(backend, f"{one} Sentiment :") for one in prompted], atol=1e-5)


@pytest.mark.parametrize("min_saved", [1, 10_000])
def test_vectors_stand_before_all(
    open_backend: Open,
    min_saved: int,
    monkeypatch: pytest.MonkeyPatch,
    one_at_a_time: Score,
    texts: list[str],
) -> None:
    monkeypatch.setattr(causal, "MIN_SAVED_TOKENS", min_saved)
    backend = open_backend("causal", template="{text} {question} :")
    assert backend.info.embeddings.width == 32
    vectors = np.random.default_rng(0).normal(0, 0.1, (2, 3, 32)).astype(np.float32)
    prompted = [Prompted(text, soft_prompt=prefix) for prefix in vectors for text in texts]
    scores = backend.query(as_texts(prompted)).scores
    expected = [one_at_a_time(backend, f"{one.text} Sentiment :", one.soft_prompt) for one in prompted]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_long_text_is_cut_and_the_template_is_not(open_backend: Open, one_at_a_time: Score) -> None:
    backend = open_backend("causal", template="{text} {question} :", max_tokens=5)
    long = backend.query(as_texts(["the film was so bad " * 9])).scores
    np.testing.assert_allclose(long[0], one_at_a_time(backend, "the film was so bad Sentiment :"), atol=1e-5)
    backend = open_backend("causal", template="{text} {question} :", max_tokens=500)
    room = 48 - 2 - 3  # positions, the template's, the longest words'
    scores, tokens, *_ = backend.query(as_texts(["film " * 100]))
    assert tokens == room + 2
    np.testing.assert_allclose(scores[0], one_at_a_time(backend, "film " * room + "Sentiment :"), atol=1e-5)


def test_small_pieces_give_the_same(open_backend: Open, monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    backend = open_backend("causal")
    whole = backend.query(as_texts(texts)).scores
    monkeypatch.setattr(causal, "MAX_TOKENS", 12)
    np.testing.assert_allclose(backend.query(as_texts(texts)).scores, whole, atol=1e-5)


def test_a_causal_model_is_read_by_its_words_by_default(open_backend: Open) -> None:
    assert open_backend("causal", classifier="auto").info.embeddings is not None

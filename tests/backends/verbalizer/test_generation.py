"""Classes by the words that a model generates, compared with one token at a time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.types import Prompted
from fedbbpt_backends import answer_parsing
from fedbbpt_backends.answer_parsing import parse_answers
from fedbbpt_backends.hf_text import HfText

Open = Callable[..., HfText]


def generate(backend: HfText, context: str, count: int, prefix: np.ndarray | None = None) -> str:
    model = backend.network.model
    ids = model.tokenizer(context)["input_ids"]
    for _ in range(count):
        vectors = model.net.get_input_embeddings()(torch.tensor(ids))
        if prefix is not None:
            vectors = torch.cat([torch.from_numpy(prefix), vectors])
        with torch.no_grad():
            ids.append(int(model.net(inputs_embeds=vectors[None]).logits[0, -1].argmax()))
    return model.tokenizer.decode(ids[-count:])


def test_the_class_is_what_is_generated(
    open_backend: Open, texts: list[str], provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[list[str]] = []
    monkeypatch.setattr(answer_parsing, "parse_answers", lambda *a: parsed.append(a) or parse_answers(*a))
    backend = open_backend("causal", classifier="generated", template="{text} {question} :")
    prefix = np.random.default_rng(0).normal(0, 1, (2, 32)).astype(np.float32)
    answers = backend.query(as_texts([*texts, Prompted(texts[0], soft_prompt=prefix)]))
    count = 4 + 3  # MORE, the longest words
    expected = [generate(backend, f"{text} Sentiment :", count) for text in texts]
    expected.append(generate(backend, f"{texts[0]} Sentiment :", count, prefix))
    assert parsed[-1][0] == expected
    named = [answer_parsing.match_label(text, provider.label_words) for text in expected]
    assert answers.unparsed == named.count(None)
    assert backend.info.scores == "log-probabilities"
    assert answers.tokens == sum(len(text.split()) + 2 for text in texts) + len(texts[0].split()) + 4 + 5 * count
    assert answers.output_tokens == 5 * count


def test_the_question_lists_the_possible_answers(open_backend: Open) -> None:
    backend = open_backend("causal", classifier="generated")
    asked = backend.network.model.tokenizer("Is the Sentiment good, very bad or not so good?")["input_ids"]
    after = backend.verbalizer.context("film").suffix
    assert any(list(after[i : i + len(asked)]) == asked for i in range(len(after)))


def test_a_masked_model_does_not_write(open_backend: Open) -> None:
    with pytest.raises(ConfigError, match="is not a causal language model"):
        open_backend("masked", classifier="generated")

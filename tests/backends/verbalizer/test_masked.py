"""Label words by a masked model: what is computed side by side equals one class at a time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fedbbpt.backend import Provider
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.types import Prompted
from fedbbpt_backends.hf_text import HfText

Open = Callable[..., HfText]


def test_all_words_equal_one_at_a_time(open_backend: Open, texts: list[str], provider: Provider) -> None:
    backend = open_backend("masked", template="{text} {question} : {mask} .")
    scores = backend.query(as_texts(texts)).scores
    model = backend.network.model
    for text, row in zip(texts, scores, strict=True):
        for words, score in zip(provider.label_words, row, strict=True):
            ids = model.tokenizer(words, add_special_tokens=False)["input_ids"]
            filled = model.tokenizer(f"{text} sentiment : {'[MASK] ' * len(ids)}.", return_tensors="pt")
            with torch.no_grad():
                log_p = model.net(input_ids=filled["input_ids"]).logits[0].log_softmax(-1)
            places = (filled["input_ids"][0] == model.tokenizer.mask_token_id).nonzero()[:, 0]
            expected = sum(log_p[place, token].item() for place, token in zip(places, ids, strict=True))
            assert score == pytest.approx(expected, abs=1e-5)


def test_a_masked_model_is_an_encoder_by_default(open_backend: Open) -> None:
    with pytest.raises(ConfigError, match="no examples to fit"):
        open_backend("masked", classifier="auto")


def test_vectors_stand_behind_the_mark_of_the_beginning(open_backend: Open, texts: list[str]) -> None:
    backend = open_backend("masked")
    vectors = np.random.default_rng(0).normal(0, 1, (3, 32)).astype(np.float32)
    one, other = backend.query(as_texts([Prompted(texts[0], soft_prompt=vectors), texts[0]])).scores
    assert not np.allclose(one, other, atol=1e-4)

"""What a language model reads: the template with a text, its prompt and examples."""

from collections.abc import Callable

import numpy as np
import pytest

from fedbbpt.data.texts import as_texts
from fedbbpt.errors import ConfigError
from fedbbpt.types import Prompted
from fedbbpt_backends.hf_text import HfText

Open, Score = Callable[..., HfText], Callable[..., list[float]]
EXAMPLES = (("the book was good", "good"), ("bad film", "very bad"))


def text_of(backend: HfText, text: str) -> str:
    context = backend.verbalizer.context(text)
    return backend.network.model.tokenizer.decode([*context.prefix, *context.text, *context.suffix])


def test_examples_are_asked_about_as_the_text_is(open_backend: Open, one_at_a_time: Score) -> None:
    backend = open_backend("causal", template="{text} {question} :")
    one = Prompted("so so", "read this : ", " carefully", examples=EXAMPLES)
    shown = [
        "read this : the book was good carefully Sentiment : good",
        "read this : bad film carefully Sentiment : very bad",
        "read this : so so carefully Sentiment :",
    ]
    assert text_of(backend, one) == " ".join(shown)
    assert backend.query(as_texts([one])).scores[0] == pytest.approx(one_at_a_time(backend, " ".join(shown)), abs=1e-5)


def test_examples_of_a_masked_model(open_backend: Open) -> None:
    backend = open_backend("masked", template="{text} : {mask} .")
    one = Prompted("so so", examples=EXAMPLES)
    shown = "the book was good : good. bad film : very bad. so so : [MASK]."
    assert text_of(backend, one) == f"[CLS] {shown} [SEP]"


def test_examples_are_never_cut(open_backend: Open) -> None:
    backend = open_backend("causal", template="{text} :", max_tokens=1)
    one = Prompted("so so", examples=EXAMPLES)
    assert text_of(backend, one) == "the book was good : good bad film : very bad so :"


def test_a_single_string_scores_as_the_whole_of_it(open_backend: Open) -> None:
    one = Prompted("so so", "read this : ", " carefully", examples=(("bad film", "bad"),))
    asked = open_backend("causal", template="{text} {question} :", single_string=True)
    plain = open_backend("causal", template="{text}")
    string = "read this : bad film carefully Sentiment : bad\n\nread this : so so carefully Sentiment :"
    np.testing.assert_array_equal(
        asked.query(as_texts([one, "bad"])).scores, plain.query(as_texts([string, "bad Sentiment :"])).scores
    )


def test_a_masked_model_reads_no_single_string(open_backend: Open) -> None:
    with pytest.raises(ConfigError, match="for causal language models"):
        open_backend("masked", single_string=True)


@pytest.mark.parametrize("words", [["good"], ["good", "good", "bad"], ["good", "", "bad"]])
def test_label_words_differ_and_are_as_many_as_the_classes(open_backend: Open, words: list[str]) -> None:
    with pytest.raises(ConfigError, match="3 different words, one for each of pos, neg, mid"):
        open_backend("causal", label_words=words)


def test_a_template_without_the_text_is_refused(open_backend: Open) -> None:
    with pytest.raises(ConfigError, match=r"\{text\} where the text goes, got 'Sentiment:'"):
        open_backend("causal", template="Sentiment:")


def test_a_template_without_a_verbalizer_is_refused(open_backend: Open) -> None:
    with pytest.raises(ConfigError, match=r"use -o backend.classifier=verbalizer"):
        open_backend("masked", classifier="prototypes", template="{text}")


def test_a_prompt_longer_than_the_model_reads_is_refused(open_backend: Open) -> None:
    with pytest.raises(ConfigError, match="the model reads 48"):
        open_backend("causal").query(as_texts([Prompted("film", prefix="the " * 50)]))

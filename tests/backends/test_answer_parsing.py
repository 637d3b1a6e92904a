"""Classes read from answers in words."""

import numpy as np
import pytest

from fedbbpt_backends.answer_parsing import match_label, parse_answers, token_label

WORDS = ("good", "very good", "bad", "C++")


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("good", 0),
        (" Good.\n", 0),
        ("It is very good, not bad", 1),
        ("BAD!", 2),
        ("bad, or good", 2),
        ("I would say c++.", 3),
        ("**Good**", 0),
        ("_bad_", 2),
        ("very\n good", 1),
        ("ＢＡＤ！", 2),
        ("ĠbadĊ", 2),
        ("▁Very▁good<0x2E>", 1),
        ("âĢľĠbadâĢĿ", 2),
        ("<think>It may be bad.</think>\n\ngood", 0),
        ("It may be bad, hm.</think>good", 0),
        ("<think>It may be bad", None),
        ("goodness", None),
        ("", None),
        ("who knows", None),
    ],
)
def test_the_word_that_comes_first_counts_and_of_several_there_the_longest(answer, number):
    assert match_label(answer, WORDS) == number


def test_answers_are_log_probabilities_and_what_matches_nothing_is_counted():
    answers = parse_answers(["bad", "hm", "so good"], WORDS, tokens=7)
    assert (answers.tokens, answers.unparsed) == (7, 1)
    assert answers.scores.dtype == np.float32
    np.testing.assert_allclose(np.exp(answers.scores).sum(1), 1, rtol=1e-6)
    assert answers.scores.argmax(1).tolist()[::2] == [2, 0]
    assert np.ptp(answers.scores[1]) == 0
    assert answers.scores[0].max() == pytest.approx(np.log(0.9))


@pytest.mark.parametrize(
    ("token", "number"),
    [
        *(
            (token, 0)
            for token in ("good", " Good", "Ġgood", "▁GOOD", "##good", "good</w>", "go@@", "\ngood", "ĊĠgood")
        ),
        *((token, 2) for token in ("**bad", '"bad"', "bad.", "ｂａｄ", "âĢľbad", "<0x0A>bad", "<0x62>", "B", "ĠB")),
        *((token, 1) for token in ("very", "Ġvery", "_very")),
        ("C++", 3),
        *((token, None) for token in ("", "Ġ", "▁", "Ċ", "**", "\n", "<0x20>", "x", "goodness", "ing")),
    ],
)
def test_a_token_says_the_class_that_it_names_or_alone_begins(token, number):
    assert token_label(token, WORDS) == number


def test_signs_of_tokenizers_may_be_letters_of_a_language():
    words = ("čas", "Ġid", "naïve", "są")
    assert [token_label(word, words) for word in words] == [0, 1, 2, 3]
    assert [match_label(f"{word}.", words) for word in words] == [0, 1, 2, 3]
    assert token_label("naÃ¯ve", words) == 2

"""Scores of classes from the listed tokens alone."""

import json

import numpy as np

from fedbbpt_backends.label_scores import label_scores

WORDS = ("good", "very bad", "very good", "so so")


def test_a_listed_token_counts_for_its_class():
    scores = label_scores({" Good": -1.0, "good": -2.0, " so": -1.5, " very": -0.9, "x": -4.0}, WORDS)
    assert scores[0] == np.float32(np.logaddexp(-1.0, -2.0))
    assert scores[3] == -1.5
    assert scores[1] == scores[2]  # "very" may be either


def test_what_is_not_listed_is_as_likely_as_it_may_be():
    few = label_scores({" good": -0.05, " so": -3.5}, WORDS)
    assert few[1] == np.float32(np.log(1 - np.exp(-0.05) - np.exp(-3.5)))
    many = label_scores({" good": -3.0, " so": -5.0}, WORDS)
    assert many[1] == -5.0
    assert (label_scores({" good": 0.0}, WORDS) == 0.0).all()


def test_single_tokens_keep_their_bits():
    exact = np.random.default_rng(0).normal(-5, 3, 4).astype(np.float32)
    top = {f" {word}": float(value) for word, value in zip(WORDS, exact, strict=True)}
    assert np.array_equal(label_scores(json.loads(json.dumps(top)), WORDS), exact)

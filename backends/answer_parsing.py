"""Parses classes from what a language model generates: from an answer in words, or from a single token."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fedbbpt.backend import BackendOutput
from fedbbpt.types import Float32
from fedbbpt_backends.token_decoding import readings

CONFIDENCE = 0.9  # probability given to the class that an answer names: models are wrong now and then
PUNCTUATION = " \t\n\"'`*_~.,:;!?()[]{}<>#“”„‘’«»…。、"  # with quotes and Markdown
THINK_TAGS = ("<think>", "</think>")  # around the reasoning before an answer


def parse_answers(answers: Sequence[str], words: Sequence[str], tokens: int = 0) -> BackendOutput:
    """Converts answers in words into log-probabilities (b, K), float32, of the classes that `words` stand for.

    An answer that names no class makes all classes equally likely, and counts as `unparsed`.

    >>> output = parse_answers(["It is bad.", "Who knows?"], ["good", "bad"])
    >>> output.scores.argmax(1).tolist(), output.unparsed
    ([1, 0], 1)
    """
    named = [match_label(answer, words) for answer in answers]
    scores: Float32 = np.full((len(answers), len(words)), -np.log(len(words)), np.float32)
    for row, number in zip(scores, named, strict=True):
        if number is not None:
            row[:] = np.log((1 - CONFIDENCE) / max(1, len(words) - 1))
            row[number] = np.log(CONFIDENCE)
    return BackendOutput(scores, tokens, sum(number is None for number in named))


def match_label(answer: str, words: Sequence[str]) -> int | None:
    """The index of the word that an answer names first; None if it names none.

    Of several at one position, the longest counts. Case, width of letters and punctuation do not matter, but the word
    must stand by itself: "unsure" does not name "sure". Reasoning is skipped, and the symbols that tokenizers use for
    spaces count as spaces.

    >>> match_label("<think>bad?</think> Not bad, not very good", ("good", "bad", "not bad"))
    2
    """
    for reading in readings(answer):
        text, found = _normalized(_without_reasoning(reading)), []
        for number, word in enumerate(words):
            place = re.search(rf"(?<![^\W_]){re.escape(_normalized(word))}(?![^\W_])", text)
            if place:
                found.append((place.start(), -len(word), number))
        if found:
            return min(found)[2]
    return None


@lru_cache(1 << 16)
def token_label(token: str, words: tuple[str, ...]) -> int | None:
    """The index of the word that a token stands for: the word itself, or the only word that starts with the token.

    Case, width of letters, symbols of tokenizers, quotes and punctuation around it do not matter.

    >>> token_label("▁Pos", ("positive", "negative"))
    0
    """
    names = [_normalized(word).strip() for word in words]
    parts = [_normalized(reading).strip() for reading in readings(token)]
    parts += [part.strip(PUNCTUATION) for part in parts]
    for part in parts:
        if part in names:
            return names.index(part)
    for part in filter(None, parts):
        begun = [number for number, name in enumerate(names) if name.startswith(part)]
        if len(begun) == 1:
            return begun[0]
    return None


def _normalized(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold())


def _without_reasoning(answer: str) -> str:
    """The answer after the reasoning; empty if the reasoning is not finished."""
    begin, end = THINK_TAGS
    if end in answer:
        return answer.rpartition(end)[2]
    return "" if answer.lstrip().startswith(begin) else answer

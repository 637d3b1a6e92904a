"""Classes read from what a language model writes: from an answer in words, and from a single token."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fedbbpt.backend import BackendOutput
from fedbbpt.types import Float32
from fedbbpt_backends.token_decoding import readings

SURE = 0.9  # probability of the class that an answer names: a model that only says so is taken to err now and then
AROUND = " \t\n\"'`*_~.,:;!?()[]{}<>#“”„‘’«»…。、"  # of a token: quotes, punctuation, Markdown
THOUGHT = ("<think>", "</think>")  # around what a model writes before its answer


def read(answers: Sequence[str], words: Sequence[str], tokens: int = 0) -> BackendOutput:
    """Answers in words as log-probabilities (b, K) of the classes that `words` name.

    An answer that names none leaves all classes equally likely, and is counted as `unparsed`.
    """
    named = [match(answer, words) for answer in answers]
    scores: Float32 = np.full((len(answers), len(words)), -np.log(len(words)), np.float32)
    for row, number in zip(scores, named, strict=True):
        if number is not None:
            row[:] = np.log((1 - SURE) / max(1, len(words) - 1))
            row[number] = np.log(SURE)
    return BackendOutput(scores, tokens, sum(number is None for number in named))


def match(answer: str, words: Sequence[str]) -> int | None:
    """Which of the words an answer names first, the longest of several in one place; None where it names none.

    Capitals, wide letters and what is around a word do not matter, but it must stand by itself: "unsure" does not name
    "sure". What a model only thinks is passed over, and what tokenizers write for spaces is read as one.
    """
    for reading in readings(answer):
        text, found = _normal(_said(reading)), []
        for number, word in enumerate(words):
            place = re.search(rf"(?<![^\W_]){re.escape(_normal(word))}(?![^\W_])", text)
            if place:
                found.append((place.start(), -len(word), number))
        if found:
            return min(found)[2]
    return None


@lru_cache(1 << 16)
def meant(token: str, words: tuple[str, ...]) -> int | None:
    """The class that a token says: the one whose words it is, else the only one whose words begin with it.

    Capitals, wide letters, tokenizers' signs, quotes and punctuation around it do not matter.
    """
    names = [_normal(word).strip() for word in words]
    parts = [_normal(reading).strip() for reading in readings(token)]
    parts += [part.strip(AROUND) for part in parts]
    for part in parts:
        if part in names:
            return names.index(part)
    for part in filter(None, parts):
        begun = [number for number, name in enumerate(names) if name.startswith(part)]
        if len(begun) == 1:
            return begun[0]
    return None


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text).casefold())


def _said(answer: str) -> str:
    """The answer without the thought before it; nothing where it did not come to an end."""
    begin, end = THOUGHT
    if end in answer:
        return answer.rpartition(end)[2]
    return "" if answer.lstrip().startswith(begin) else answer

"""A vocabulary from what clients count in their texts, which stay where they are.

As in BDPL (Diao et al. 2023, arXiv 2201.08531), neighbours that stand together far more often than chance has it are
joined to n-grams, and the most frequent of words and n-grams are taken.

A client tells which words, pairs and triples it holds at least twice, and how often. Whatever it wrote once stays with
it; what it repeats, be it a name, does not. What is told are counts to be summed up: they go with secure aggregation,
but for the list of what is counted.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fedbbpt.json_text import parse
from fedbbpt.types import wire

LONGEST = 3  # words of an n-gram; the authors' are up to 5, of which few come twice in a client's few texts
LEAST = 2  # times that a client must hold what it tells of
CLOSE = 1.0  # nats of pointwise mutual information from which on neighbours are joined: the authors'

_PAUSE = re.compile(r"[^\w\s'’-]+")  # no n-gram reaches across
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True)
class Counts:
    """What one client tells of its texts."""

    total: int  # words in all
    ngrams: Mapping[str, int]  # how often it holds each, words between single spaces

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps([self.total, self.ngrams], ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Counts":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: `counts` makes no such thing.
        """
        total, ngrams = wire.listed(parse(data), "counts", 2)
        told = {ngram: wire.whole(count, "a count") for ngram, count in wire.mapped(ngrams, "what is counted").items()}
        words = [(word, count) for ngram, count in told.items() for word in ngram.split(" ")]
        if not all(_WORD.fullmatch(word) and told.get(word, 0) >= count > 0 for word, count in words):
            raise ValueError("something counted is not of words that are counted as often")
        if any(len(ngram.split(" ")) > LONGEST for ngram in told):
            raise ValueError(f"something counted has more than {LONGEST} words")
        if sum(count for ngram, count in told.items() if " " not in ngram) > wire.whole(total, "the number of words"):
            raise ValueError("more words are counted than there are")
        return cls(total, told)


def counts(texts: Iterable[str]) -> Counts:
    """Words, pairs and triples of one client's texts, in small letters; those that it holds at least twice."""
    total, found = 0, Counter[str]()
    for text in texts:
        for piece in _PAUSE.split(text.lower()):
            words = _WORD.findall(piece)
            total += len(words)
            for n in range(1, LONGEST + 1):
                found.update(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    return Counts(total, {ngram: found[ngram] for ngram in sorted(found) if found[ngram] >= LEAST})


def vocabulary(told: Sequence[Counts], size: int) -> list[str]:
    """The `size` most frequent of words and joined words, or all if they are fewer; equally frequent ones by name."""
    total, sums = sum(client.total for client in told), Counter[str]()
    for client in told:
        sums.update(client.ngrams)

    def belong(a: str, b: str) -> bool:
        """log p(ab) / p(a) p(b) ≥ CLOSE."""
        return math.log(total * sums[f"{a} {b}"] / (sums[a] * sums[b])) >= CLOSE

    joined = [ngram for ngram in sums if all(belong(a, b) for a, b in pairwise(ngram.split()))]
    return sorted(joined, key=lambda ngram: (-sums[ngram], ngram))[:size]

"""Builds a vocabulary from n-gram counts that clients send; the texts stay with the clients.

As in BDPL (Diao et al. 2023, arXiv 2201.08531), neighbouring words that occur together far more often than by chance
are joined to n-grams, and the most frequent words and n-grams are taken.

A client sends the words, pairs and triples that it holds at least twice, with their counts. What it wrote once stays
private; what it repeats, even a name, does not. The counts are summed up, so that secure aggregation applies to them,
but not to the list of n-grams.
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

MAX_WORDS = 3  # of an n-gram; the authors' have up to 5, which rarely occur twice in a client's few texts
MIN_COUNT = 2  # occurrences from which on a client sends an n-gram
MIN_PMI = 1.0  # pointwise mutual information, in nats, from which on neighbours are joined: the authors'

_PAUSE = re.compile(r"[^\w\s'’-]+")  # no n-gram crosses these
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True)
class NgramCounts:
    """The n-gram counts of one client."""

    total: int  # words in all
    ngrams: Mapping[str, int]  # n-gram, its words separated by single spaces -> count

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps([self.total, self.ngrams], ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "NgramCounts":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: not a result of `count_ngrams`.
        """
        total, ngrams = wire.listed(parse(data), "counts", 2)
        counts = {ngram: wire.whole(n, "a count") for ngram, n in wire.mapped(ngrams, "what is counted").items()}
        words = [(word, count) for ngram, count in counts.items() for word in ngram.split(" ")]
        if not all(_WORD.fullmatch(word) and counts.get(word, 0) >= count > 0 for word, count in words):
            raise ValueError("something counted is not of words that are counted as often")
        if any(len(ngram.split(" ")) > MAX_WORDS for ngram in counts):
            raise ValueError(f"something counted has more than {MAX_WORDS} words")
        if sum(count for ngram, count in counts.items() if " " not in ngram) > wire.whole(total, "the number of words"):
            raise ValueError("more words are counted than there are")
        return cls(total, counts)


def count_ngrams(texts: Iterable[str]) -> NgramCounts:
    """Counts words, pairs and triples in one client's texts, in lower case; keeps those that occur at least twice.

    >>> count_ngrams(["a dull film", "A fine film."])
    NgramCounts(total=6, ngrams={'a': 2, 'film': 2})
    """
    total, found = 0, Counter[str]()
    for text in texts:
        for piece in _PAUSE.split(text.lower()):
            words = _WORD.findall(piece)
            total += len(words)
            for n in range(1, MAX_WORDS + 1):
                found.update(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    return NgramCounts(total, {ngram: found[ngram] for ngram in sorted(found) if found[ngram] >= MIN_COUNT})


def build_vocabulary(counted: Sequence[NgramCounts], size: int) -> list[str]:
    """The `size` most frequent words and n-grams of all clients, or all if there are fewer; ties in alphabetical order.

    Three words are joined if both pairs of neighbours are.
    """
    total, sums = sum(client.total for client in counted), Counter[str]()
    for client in counted:
        sums.update(client.ngrams)

    def associated(a: str, b: str) -> bool:
        """Whether log p(ab) / p(a) p(b) ≥ MIN_PMI."""
        return math.log(total * sums[f"{a} {b}"] / (sums[a] * sums[b])) >= MIN_PMI

    joined = [ngram for ngram in sums if all(associated(a, b) for a, b in pairwise(ngram.split()))]
    return sorted(joined, key=lambda ngram: (-sums[ngram], ngram))[:size]

"""What readers of texts yield, and what they share."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from fedbbpt.data import hash_split

LONGEST = 4000  # characters; no model here reads further


class TextExample(NamedTuple):
    """One text of a data set. Texts that must not be on both sides of a split share a key."""

    key: str
    label: str
    text: str
    official: bool | None = None  # whether the official split has it in the test; None if there is no official split
    domain: str = ""  # the origin, if a data set has several

    @property
    def for_test(self) -> bool:
        """Whether the official split, or else the key's hash, puts it into the test."""
        return hash_split(self.key) == "test" if self.official is None else self.official


def subsample(texts: Iterable[TextExample], limit: int, class_limit: int | None = None) -> Iterator[TextExample]:
    """The texts of lowest hashes, in order: at most `limit` per side and `class_limit` per class of a side."""
    everything = list(texts)
    ranked = sorted(range(len(everything)), key=lambda i: sha256(everything[i].text.encode()).digest())
    taken: dict[tuple[bool, str | None], int] = {}
    chosen = set()
    for i in ranked:
        side, label = everything[i].for_test, everything[i].label
        if taken.get((side, None), 0) < limit and (class_limit is None or taken.get((side, label), 0) < class_limit):
            chosen.add(i)
            for counted in (None, label):
                taken[side, counted] = taken.get((side, counted), 0) + 1
    return (everything[i] for i in sorted(chosen))


def normalise(text: str) -> str:
    """Joins words by single spaces, and cuts the text where no model here reads on."""
    return " ".join(text.split())[:LONGEST]

"""What readers of texts yield, and what they share."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from fedbbpt.data import hash_split

LONGEST = 4000  # characters; no model here reads further


class Text(NamedTuple):
    """A text of a data set. Texts that must not be on both sides of a split share their key."""

    key: str
    label: str
    text: str
    official: bool | None = None  # the official split's word on whether it is for tests; None where there is none
    domain: str = ""  # where it comes from, where a data set has several origins

    @property
    def for_test(self) -> bool:
        return hash_split(self.key) == "test" if self.official is None else self.official


def some(texts: Iterable[Text], most: int, of_class: int | None = None) -> Iterator[Text]:
    """At most so many of each side, and of each class of a side: those whose hashes are lowest, in their order."""
    everything = list(texts)
    ranked = sorted(range(len(everything)), key=lambda i: sha256(everything[i].text.encode()).digest())
    taken: dict[tuple[bool, str | None], int] = {}
    kept = set()
    for i in ranked:
        side, label = everything[i].for_test, everything[i].label
        if taken.get((side, None), 0) < most and (of_class is None or taken.get((side, label), 0) < of_class):
            kept.add(i)
            for counted in (None, label):
                taken[side, counted] = taken.get((side, counted), 0) + 1
    return (everything[i] for i in sorted(kept))


def shown(text: str) -> str:
    """As it is kept: single spaces, and no longer than any model here reads."""
    return " ".join(text.split())[:LONGEST]

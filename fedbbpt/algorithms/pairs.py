"""Which test examples a client's scores have right: remembered by the client, and sent as counts alone.

Two scores on the same examples are compared by the examples on which they differ. The client has both, and says how
many of these each of them has right. Nobody else learns which examples they are.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms.client import ClientMemory
from fedbbpt.types import Message, Pair

RIGHT = "right"  # the part of the memory: name of a score -> (N,) bool


def score_name(algorithm: str, message: Message) -> str:
    """The name of the score of a message's parameters, for which an algorithm is asked, by its own name.

    >>> score_name("baseline", Message(1, 0, {}))
    'baseline-1'
    """
    return f"{algorithm}-{message.round}"


def pair_up(memory: ClientMemory, algorithm: str, message: Message, right: NDArray[np.bool_]) -> Mapping[str, Pair]:
    """Remembers which examples (N,) a score has right; counts how it differs from each score of another algorithm."""
    known = memory.part(RIGHT)
    pairs = {}
    for name, before in known.items():
        if name.rpartition("-")[0] != algorithm and len(before) == len(right):
            pairs[name] = Pair(int((right & ~before).sum()), int((before & ~right).sum()))
    known[score_name(algorithm, message)] = right
    return pairs

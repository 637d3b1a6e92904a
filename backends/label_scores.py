"""Scores of classes from the likeliest next tokens, all that a service tells of its model's probabilities."""

import math
from collections.abc import Mapping

import numpy as np

from fedbbpt.types import Float32
from fedbbpt_backends.answer_parsing import meant
from fedbbpt_backends.token_decoding import is_control


def scores_of(top: Mapping[str, float], words: tuple[str, ...]) -> Float32:
    """Log-probabilities (C,) of the classes that `words` name, from those of the listed tokens.

    A token counts for the class that it says (`answer_parsing.meant`), and what several tokens say of a class is added
    up. One that is not listed is at most as likely as the least likely token that is, and as all that is not listed
    together: it gets the lower of the two, which is the highest that can be true of it.
    """
    said: list[list[float]] = [[] for _ in words]
    for token, log_p in top.items():
        if (number := meant(token, words)) is not None:
            said[number].append(log_p)
    rest = 1 - math.fsum(math.exp(log_p) for log_p in top.values())
    floor = min([*top.values(), math.log(rest)] if rest > 0 else top.values(), default=0.0)
    return np.array([np.logaddexp.reduce(found) if found else floor for found in said], np.float32)


def begins_otherwise(top: Mapping[str, float]) -> bool:
    """Whether something else comes first than an answer: a thought, or what only a chat's template writes.

    What else is listed then are accidents of its place, and tell nothing of classes.
    """
    return is_control(max(top, key=lambda token: top[token]))


def names_none(top: Mapping[str, float], words: tuple[str, ...]) -> bool:
    """Whether no listed token says a class, so that the scores tell nothing."""
    return all(meant(token, words) is None for token in top)

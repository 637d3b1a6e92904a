"""Scores classes by the most likely next tokens, the only probabilities that a service returns."""

import math
from collections.abc import Mapping

import numpy as np

from fedbbpt.types import Float32
from fedbbpt_backends.answer_parsing import token_label
from fedbbpt_backends.token_decoding import is_control_token


def label_scores(top: Mapping[str, float], words: tuple[str, ...]) -> Float32:
    """Log-probabilities (C,), float32, of the classes that `words` stand for, from those of the listed tokens.

    A token counts for the class that it stands for (`token_label`); several tokens of a class are summed. A class
    without a listed token gets the tightest upper bound: it is at most as likely as the least likely listed token, and
    as all unlisted tokens together.
    """
    found: list[list[float]] = [[] for _ in words]
    for token, log_p in top.items():
        if (number := token_label(token, words)) is not None:
            found[number].append(log_p)
    rest = 1 - math.fsum(math.exp(log_p) for log_p in top.values())
    floor = min([*top.values(), math.log(rest)] if rest > 0 else top.values(), default=0.0)
    return np.array([np.logaddexp.reduce(own) if own else floor for own in found], np.float32)


def starts_with_control_token(top: Mapping[str, float]) -> bool:
    """Whether the most likely token opens reasoning or belongs to a chat template.

    The other listed tokens then say nothing about the classes.
    """
    return is_control_token(max(top, key=lambda token: top[token]))


def names_no_class(top: Mapping[str, float], words: tuple[str, ...]) -> bool:
    """Whether no listed token stands for a class, so that the scores carry no information."""
    return all(token_label(token, words) is None for token in top)

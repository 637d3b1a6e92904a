"""Scores of classes from the likeliest next tokens, all that a service tells of its model's probabilities."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fedbbpt.types import Float32


def scores_of(top: Mapping[str, float], words: Sequence[str]) -> Float32:
    """Log-probabilities (C,) of the classes that `words` name, from those of the listed tokens.

    A token counts for the class whose words it is, else for the one class whose words begin with it; capitals and
    spaces around it do not matter, and what several tokens say of a class is added up. One that is not listed is at
    most as likely as the least likely token that is, and as all that is not listed together: it gets the lower of the
    two, which is the highest that can be true of it.
    """
    names = [word.strip().casefold() for word in words]
    said: list[list[float]] = [[] for _ in names]
    for token, log_p in top.items():
        part = token.strip().casefold()
        meant = [c for c, name in enumerate(names) if name == part] or [
            c for c, name in enumerate(names) if part and name.startswith(part)
        ]
        if len(meant) == 1:
            said[meant[0]].append(log_p)
    rest = 1 - math.fsum(math.exp(log_p) for log_p in top.values())
    floor = min([*top.values(), math.log(rest)] if rest > 0 else top.values(), default=0.0)
    return np.array([np.logaddexp.reduce(found) if found else floor for found in said], np.float32)

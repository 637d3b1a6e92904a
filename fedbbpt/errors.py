"""Every error that a user may meet; the message says what was expected, what came and what to do.

FedbbptError
├── UnknownName      a name that no table holds; lists the nearest ones
├── ConfigError      a setting that makes no sense, alone or with the others
├── DataError        images, labels or folders that cannot be used
├── BackendError     the model cannot be loaded or does not answer as its `info` says
│   └── MissingExtra an optional dependency is not installed; names the extra
├── BudgetError      the next step would cost more than the limit that the user set
├── FederationError  a federation, its server or a site cannot be used, started or reached
└── RunError         a run's folder cannot be written, read or resumed

The first four are also `ValueError`s. Misuse of ask/tell is a `RuntimeError`: a bug, not a user's mistake.
"""

import difflib
from collections.abc import Iterable
from typing import Any

from fedbbpt.printing import short_repr

NEAREST = 5  # names that the message about an unknown one lists
MAX_COMPARED = 100  # characters; comparing takes a time that grows with their square


class FedbbptError(Exception):
    """Base of all errors that this package raises on purpose. They can be pickled, whatever their classes take."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args), self.__dict__


class UnknownName(FedbbptError, ValueError):  # noqa: N818 - reads as what it says
    """No such name; the message lists the nearest ones.

    >>> print(UnknownName("prompt", "padd", ["affine", "dct", "padding"]))
    unknown prompt 'padd'. Did you mean 'padding'? Known: affine, dct, padding.

    Args:
        kind: what the name is of, as a noun.
        name: the name that was given.
        known: all names of this kind.
        shown_by: the command that lists all of them, if there is one.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], shown_by: str | None = None) -> None:
        choices = sorted(known)
        matches = [difflib.get_close_matches(name[:MAX_COMPARED], choices, NEAREST, cutoff) for cutoff in (0.5, 0.0)]
        hint = f" Did you mean {matches[0][0]!r}?" if matches[0] else ""
        if len(choices) <= NEAREST:
            shown = f"Known: {', '.join(choices) or 'none'}"
        else:
            shown = f"The nearest of {len(choices)}: {', '.join(matches[1])}"
            shown += f"; {shown_by} shows all" if shown_by else ""
        super().__init__(f"unknown {kind} {short_repr(name)}.{hint} {shown}.")


class ConfigError(FedbbptError, ValueError):
    """A setting that makes no sense, alone or with the others."""


class DataError(FedbbptError, ValueError):
    """Images, labels or folders that cannot be used."""


class BackendError(FedbbptError, ValueError):
    """The model cannot be loaded, or does not answer as its `info` says."""


class MissingExtra(BackendError):  # noqa: N818 - reads as what it says
    """An optional dependency is not installed."""

    def __init__(self, needed_for: str, extra: str, cause: ImportError) -> None:
        super().__init__(f"{needed_for} needs the '{extra}' extra ({cause}): pip install 'fedbbpt[{extra}]'")


class BudgetError(FedbbptError):
    """The next step would cost more than the limit that the user set."""


class FederationError(FedbbptError):
    """A federation, its server or a site cannot be used, started or reached."""


class PolicyError(FederationError):
    """A job asks for more than a site's policy allows; the sentence may be told to the federation's server."""


class RunError(FedbbptError):
    """A run's folder cannot be written, read or resumed."""


def _restored(kind: type[FedbbptError], arguments: tuple[Any, ...]) -> FedbbptError:
    """An error as it was pickled; its class is not called, since it makes the message of other arguments."""
    error = kind.__new__(kind)
    error.args = arguments
    return error

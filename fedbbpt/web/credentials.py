"""API keys and tokens: read from the environment or from a file that only its owner can read, and never shown."""

import hashlib
import os
import re
import stat
import unicodedata
from pathlib import Path

from fedbbpt.errors import ConfigError

WORD = re.compile(r"[!-~]+")
QUOTES = "\"'`´‘’‚“”„«»"
OWNER_ONLY = 0o600


def parse_key(text: str, place: str, kind: str = "key") -> str:
    """Strips a key, and checks that a header can hold it.

    >>> parse_key(" sk-123 ", "MY_KEY")
    'sk-123'

    Args:
        text: the key, with blanks around it.
        place: where it comes from, for the error, which never shows the key.
        kind: what it is called there.

    Raises:
        ConfigError: it is empty, quoted, or more than one word of printable ASCII.
    """
    key = text.strip()
    if key[:1] and (key[0] in QUOTES or key[-1] in QUOTES):
        raise ConfigError(f"{place} holds no {kind}: there are quotation marks around it; leave them out")
    if not WORD.fullmatch(key):
        raise ConfigError(
            f"{place} holds no {kind}: one word of ASCII letters, digits and signs is expected, not {_problem(key)}"
        )
    return key


def key_from_env(variable: str) -> str | None:
    """The key in an environment variable, see `parse_key`; None if it is unset or blank."""
    text = os.environ.get(variable, "")
    return parse_key(text, variable) if text.strip() else None


def key_from_file(file: Path, kind: str = "key") -> str:
    """The key in a file of mode 600 or less, see `parse_key`.

    Raises:
        ConfigError: it cannot be read, or others can read it, or it holds no key.
    """
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if mode & ~OWNER_ONLY:
                raise ConfigError(f"{file} has mode {mode:03o}, and others must not read a {kind}: chmod 600 {file}")
            return parse_key(opened.read(), str(file), kind)
    except OSError as e:
        raise ConfigError(f"cannot read the {kind} in {file}: {(e.strerror or str(e)).lower()}") from e


def tenant_hash(key: str | None) -> str:
    """Tells the answers to one key from those to another, without revealing the key."""
    return hashlib.sha256((key or "").encode()).hexdigest()[:12]


def _problem(key: str) -> str:
    """What is wrong with a key, without a part of it."""
    if not key:
        return "nothing"
    if len(key.splitlines()) > 1:
        return "several lines"
    wrong = next(c for c in key if not WORD.fullmatch(c))
    return "several words" if wrong.isspace() else unicodedata.name(wrong, f"character {ord(wrong):#x}").lower()

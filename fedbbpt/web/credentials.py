"""Keys of services: from the environment or a file that only its owner can read, and never shown."""

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


def key_of(text: str, place: str, kind: str = "key") -> str:
    """The key that a text holds, without the blanks around it.

    Raises:
        ConfigError: it holds none, or what no header can take; `place` and what is wrong are said, and not the key.
    """
    key = text.strip()
    if key[:1] and (key[0] in QUOTES or key[-1] in QUOTES):
        raise ConfigError(f"{place} holds no {kind}: there are quotation marks around it; leave them out")
    if not WORD.fullmatch(key):
        raise ConfigError(
            f"{place} holds no {kind}: one word of ASCII letters, digits and signs is expected, not {_wrong(key)}"
        )
    return key


def tenant(key: str | None) -> str:
    """What tells the answers of one key from those of another, and does not tell the key."""
    return hashlib.sha256((key or "").encode()).hexdigest()[:12]


def key_in(variable: str) -> str | None:
    """The key of an environment variable, see `key_of`; None if it is not set, or blank."""
    text = os.environ.get(variable, "")
    return key_of(text, variable) if text.strip() else None


def key_from(file: Path, kind: str = "key") -> str:
    """The key of a file that nobody else can read, see `key_of`.

    Raises:
        ConfigError: it cannot be read, or others can read it, or it holds no key.
    """
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if mode & ~OWNER_ONLY:
                raise ConfigError(f"{file} has mode {mode:03o}, and others must not read a {kind}: chmod 600 {file}")
            return key_of(opened.read(), str(file), kind)
    except OSError as e:
        raise ConfigError(f"cannot read the {kind} in {file}: {(e.strerror or str(e)).lower()}") from e


def _wrong(key: str) -> str:
    """What is wrong with a key, without a part of it."""
    if not key:
        return "nothing"
    if len(key.splitlines()) > 1:
        return "several lines"
    wrong = next(c for c in key if not WORD.fullmatch(c))
    return "several words" if wrong.isspace() else unicodedata.name(wrong, f"character {ord(wrong):#x}").lower()

"""Reads, normalises and compares texts."""

import unicodedata
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from fedbbpt.errors import DataError
from fedbbpt.text_files import read_text
from fedbbpt.types import Inputs


def as_texts(texts: Sequence[str]) -> Inputs:
    """Texts as an array of inputs (N,), dtype object."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def fingerprint(text: str) -> bytes:
    """A hash that ignores spaces and capitals."""
    return sha256(" ".join(text.casefold().split()).encode()).digest()


def as_seen(text: str) -> str:
    r"""A form that is equal for texts that look alike: ignores case, spaces, zero-width characters and encodings.

    >>> as_seen("A\u0308 b") == as_seen("\u00e4\u00a0B\u200b")
    True
    """
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return " ".join(text.casefold().split())


def tidied(text: str) -> str:
    r"""The text in the form in which models read it: no byte order mark, line ends `\n`, none after the last line.

    Files end in a line end and cells of tables do not; both must read alike.
    """
    return text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def open_text(file: Path) -> str:
    """Reads a file as one text.

    Raises:
        DataError: the file is missing, is not text, or is blank.
    """
    try:
        text = tidied(read_text(file))
    except ValueError as e:
        raise DataError(f"cannot read {file}: {e}") from e
    if not text.strip():
        raise DataError(f"{file} holds no text")
    return text

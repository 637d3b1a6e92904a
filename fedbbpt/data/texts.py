"""Texts as examples."""

import unicodedata
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from fedbbpt.errors import DataError
from fedbbpt.text_files import read_text
from fedbbpt.types import Inputs


def as_texts(texts: Sequence[str]) -> Inputs:
    """Texts as the inputs of a data set: an object array (N,)."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def fingerprint(text: str) -> bytes:
    """Equal for texts that differ in their spaces and capitals only."""
    return sha256(" ".join(text.casefold().split()).encode()).digest()


def as_seen(text: str) -> str:
    """Equal for texts that people take for the same: of capitals, spaces, signs without a width and ways to encode."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return " ".join(text.casefold().split())


def tidied(text: str) -> str:
    r"""A text as it is asked about, from wherever it comes: no byte order mark before it, lines that end in `\n`.

    After the last line there is none: files end in one, cells of tables do not.
    """
    return text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def open_text(file: Path) -> str:
    """A file as one text.

    Raises:
        DataError: the file is missing, no text, or blank.
    """
    try:
        text = tidied(read_text(file))
    except ValueError as e:
        raise DataError(f"cannot read {file}: {e}") from e
    if not text.strip():
        raise DataError(f"{file} holds no text")
    return text

"""Parses JSON from files and services; everything that cannot be parsed is a `ValueError`.

Files are read strictly, since whoever wrote them can mend them; what a service answers is not, since it is paid for.
"""

import json
from typing import Any

import jiter

BYTE_ORDER_MARK = "\ufeff"  # of byte order, which some programs put first


def parse(content: str | bytes, *, more: bool = False) -> Any:
    """Parses lenient JSON, as services send it; with `more`, ignores what follows the first value.

    Within a string, bytes that are no text become replacement characters, and line ends and tabs stay what they are.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or has a number of thousands of digits.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content), "replace")
    text = text.removeprefix(BYTE_ORDER_MARK).strip()
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0] if more else json.loads(text, strict=False)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_strictly(content: bytes) -> Any:
    """Parses strict JSON in UTF-8, as in files.

    Raises:
        ValueError: it is no JSON, is nested in more than 200 levels, or holds an integer of more than 4,300 digits, a
            key that an object has twice, or half a character (a lone surrogate).
    """
    try:
        return jiter.from_json(content, catch_duplicate_keys=True)
    except ValueError as e:
        if "hex escape" in str(e):
            raise ValueError(f"half a character, such as \\ud83d without what follows it: {e}") from e
        raise

"""JSON from elsewhere: whatever it holds, it is read or refused with one kind of exception."""

import json
from typing import Any

MARK = "\ufeff"  # of byte order, which some programs put first


def parsed(content: str | bytes, *, more: bool = False) -> Any:
    """The value that the text holds; with `more`, the first one, whatever stands behind it.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or has a number of thousands of digits.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
    text = text.removeprefix(MARK).strip()
    try:
        return json.JSONDecoder().raw_decode(text)[0] if more else json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

"""Names and texts of other people, as they can be printed."""

import unicodedata

UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, halves of characters, ends of lines


def one_line(text: str) -> str:
    r"""A text that stays in its line and in its column of a table by tabs, and that no terminal obeys.

    Line ends, tabs, other control characters and halves of characters (lone surrogates) are written as Python writes
    them, say `\n`, `\x1b` or `\ud83d`.
    """
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in UNPRINTABLE else c for c in text)

"""Names and texts of other people, as they can be printed."""

import unicodedata

UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, halves of characters, ends of lines
TURNING = frozenset(
    {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
)  # that show a text in another order
MOST_QUOTED = 200  # characters of what somebody else says


def one_line(text: str) -> str:
    r"""A text that stays in its line and in its column of a table by tabs, and that no terminal obeys.

    Line ends, tabs, other control characters, marks that turn the direction of writing and halves of characters (lone
    surrogates) are written as Python writes them, say `\n`, `\x1b` or `\ud83d`.
    """
    return "".join(c if _printable(c) else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    written = repr(value)
    return written if len(written) <= MOST_QUOTED else f"{written[:MOST_QUOTED]} …"


def quoted(text: str, most: int = MOST_QUOTED) -> str:
    """What a service says, as a part of a sentence: on one line, without what a terminal obeys, and not too long."""
    return "".join(c for c in " ".join(text.split()) if _printable(c))[:most]


def _printable(character: str) -> bool:
    return not (unicodedata.category(character) in UNPRINTABLE or unicodedata.bidirectional(character) in TURNING)

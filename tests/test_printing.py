"""What may be printed."""

import pytest

from fedbbpt.printing import one_line, quoted


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("two\nlines\tand a tab", r"two\nlines\tand a tab"),
        ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
        ("cut \ud83d", r"cut \ud83d"),
        ("end\u2028of line", r"end\u2028of line"),
        ("txt.\u202egnp", r"txt.\u202egnp"),
        ("schön 日本\u3000語 👩\u200d🚀 |", "schön 日本\u3000語 👩\u200d🚀 |"),
    ],
)
def test_a_name_stays_in_its_line_and_its_column(text: str, printed: str) -> None:
    assert one_line(text) == printed
    assert one_line(text).encode()


@pytest.mark.parametrize(
    "text",
    ["\x1b]0;t\x07\x1b[2Jhi", "\x9b2Jhi", "hi\x00\x08\x7f", "\u202ehi\u202c", "\u2066hi\u2069", "\ud800hi"],
)
def test_a_quote_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    assert quoted(text).isprintable()
    assert "hi" in quoted(text)


def test_a_quote_is_one_line_and_short() -> None:
    assert quoted(" a\n\x1b[1mb\r\n c\u2028d ") == "a [1mb c d"
    assert len(quoted("x" * 1000)) == 200

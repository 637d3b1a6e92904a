"""What may be printed."""

import pytest

from fedbbpt.printing import one_line


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("two\nlines\tand a tab", r"two\nlines\tand a tab"),
        ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
        ("cut \ud83d", r"cut \ud83d"),
        ("end\u2028of line", r"end\u2028of line"),
        ("schön 日本\u3000語 👩\u200d🚀 |", "schön 日本\u3000語 👩\u200d🚀 |"),
    ],
)
def test_a_name_stays_in_its_line_and_its_column(text: str, printed: str) -> None:
    assert one_line(text) == printed
    assert one_line(text).encode()

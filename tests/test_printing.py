"""What may be printed."""

import io
import re
import time

import pytest

from fedbbpt import printing
from fedbbpt.printing import excerpt, one_line, print_table, told_if_slow


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
    assert excerpt(text).isprintable()
    assert "hi" in excerpt(text)


def test_a_quote_is_one_line_and_short() -> None:
    assert excerpt(" a\n\x1b[1mb\r\n c\u2028d ") == "a [1mb c d"
    assert len(excerpt("x" * 1000)) == 200


LONG = "an insect that lives with many others and carries more than it weighs"
ROWS = [("ant", "1,234", LONG), ("bee\x1b[1m", "7", "")]


def _printed(monkeypatch, *, cut=False, **environment):
    """What a terminal of 40 columns shows, or a pipe."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    print_table(ROWS, "name", "count", "what it is", right=["count"], cut=cut)
    return out.getvalue()


def test_in_a_pipe_a_row_is_a_line_however_long(monkeypatch):
    lines = _printed(monkeypatch, COLUMNS="40").splitlines()
    assert lines == [
        "ant         1,234  " + LONG,
        r"bee\x1b[1m      7",
    ]


def test_a_terminal_shows_headings_and_stays_in_its_width(monkeypatch):
    shown = _printed(monkeypatch, FORCE_COLOR="1", COLUMNS="40", TERM="xterm")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "what it is" in plain
    assert max(map(len, plain.splitlines())) <= 40
    assert "".join(plain.split()).count("an" + "insect") == 1


def test_a_table_that_is_cut_has_a_line_for_each_row_and_the_columns_that_fit(monkeypatch):
    shown = _printed(monkeypatch, cut=True, FORCE_COLOR="1", NO_COLOR="1", COLUMNS="40", TERM="xterm")
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()]
    assert len([line for line in lines if line.startswith(("ant", "bee"))]) == 2
    assert f"ant         1,234  {LONG[:20]}…" in lines
    narrow = _printed(monkeypatch, cut=True, FORCE_COLOR="1", NO_COLOR="1", COLUMNS="24", TERM="xterm")
    assert "what" not in narrow
    assert "1,234" in narrow


def test_in_a_pipe_nothing_is_cut(monkeypatch):
    assert _printed(monkeypatch, cut=True, COLUMNS="24").splitlines()[0] == "ant         1,234  " + LONG


def test_no_color_is_heeded(monkeypatch):
    shown = _printed(monkeypatch, FORCE_COLOR="1", NO_COLOR="1", COLUMNS="40", TERM="xterm")
    assert not re.search(r"\x1b\[(3|4|9|10)\d", shown)


def test_a_table_without_rows_is_nothing_in_a_pipe(capsys):
    print_table([], "name")
    assert capsys.readouterr().out == ""


def test_a_table_of_numbers_can_keep_its_headings_in_a_pipe(capsys):
    print_table([("ant", "12")], "class", "train", right=["train"], headed=True)
    assert capsys.readouterr().out.splitlines() == ["class  train", "ant       12"]


class Terminal(io.StringIO):
    """Standard error as a person reads it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "slow", "child", "says"),
    [
        (Terminal, 0.0, False, "loading x\\x1b ...\n"),
        (Terminal, 60.0, False, ""),
        (io.StringIO, 0.0, False, ""),
        (Terminal, 0.0, True, ""),
    ],
)
def test_a_wait_is_told_in_a_terminal_alone_and_only_if_it_is_long(monkeypatch, stream, slow, child, says):
    error = stream()
    monkeypatch.setattr("sys.stderr", error)
    monkeypatch.setattr(printing, "SLOW", slow)
    monkeypatch.setattr("multiprocessing.parent_process", lambda: object() if child else None)
    with told_if_slow("loading x\x1b ..."):
        end = time.monotonic() + (5 if says else 0.1)
        while error.getvalue() != says or (not says and time.monotonic() < end):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert error.getvalue() == says

"""Makes foreign text safe to print, and prints tables and what a command waits for."""

import sys
import threading
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

UNPRINTABLE_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, halves of characters, ends of lines
BIDIRECTIONAL_CONTROLS = frozenset(
    {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
)  # that show a text in another order
PIPE_WIDTH = 10**5  # characters of a line that is for a program
GAP = 2  # characters between two columns of a table that is cut
SMALLEST_COLUMN = 8  # characters of a column that is cut
SLOW = 1.0  # seconds of silence that somebody at a terminal should not wonder about
MAX_EXCERPT = 200  # characters of what somebody else says


def one_line(text: str) -> str:
    r"""Escapes a text so that it stays on one line and in one column, and cannot control the terminal.

    Line ends, tabs, other control characters, marks that turn the direction of writing and halves of characters (lone
    surrogates) are written as Python writes them, say `\n`, `\x1b` or `\ud83d`.
    """
    return "".join(c if _printable(c) else c.encode("unicode_escape").decode() for c in text)


def short_repr(value: object) -> str:
    """The repr of a value, truncated if it is long."""
    written = repr(value)
    return written if len(written) <= MAX_EXCERPT else f"{written[:MAX_EXCERPT]} …"


def excerpt(text: str, most: int = MAX_EXCERPT) -> str:
    """A foreign message for use inside a sentence: on one line, without control characters, truncated."""
    return "".join(c for c in " ".join(text.split()) if _printable(c))[:most]


def print_table(
    rows: Iterable[Sequence[str]],
    *headings: str,
    right: Collection[str] = (),
    headed: bool = False,
    cut: bool = False,
) -> None:
    """Prints a table with column headings; the columns in `right` are right-aligned.

    In a terminal, texts of the widest column go on below each other. With `cut`, a row is one line: the column that the
    terminal's end falls into is cut, and those after it are left out. Elsewhere, say in a pipe, each row is one line,
    however long, and nothing but the rows is printed, or a `headed` table's headings above them.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    in_terminal = console.is_terminal
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    if cut and in_terminal:
        widths = _fitting(widths, console.width)
        headings, cells = headings[: len(widths)], [row[: len(widths)] for row in cells]
    box = SIMPLE_HEAD if in_terminal else None
    padding = (0, 1, 0, 0) if cut and in_terminal else (0, 1)
    table = Table(box=box, show_header=in_terminal or headed, show_edge=False, pad_edge=False, padding=padding)
    for heading, width in zip(headings, widths, strict=True):
        side: Literal["right", "left"] = "right" if heading in right else "left"
        if cut and in_terminal:
            table.add_column(heading, justify=side, overflow="ellipsis", no_wrap=True, width=width)
        else:
            table.add_column(heading, justify=side, overflow="fold", no_wrap=not in_terminal or width < max(widths))
    for row in cells:
        table.add_row(*map(Text, row))
    if in_terminal:
        console.print(table)
        return
    plain = Console(file=sys.stdout, width=PIPE_WIDTH, color_system=None, legacy_windows=False)
    with plain.capture() as captured:
        plain.print(table)
    print(*(line.rstrip() for line in captured.get().splitlines()), sep="\n", end="\n" * bool(table.rows))


@contextmanager
def told_if_slow(text: str) -> Iterator[None]:
    """Prints a line to standard error, if that is a terminal, once what is inside has taken a second.

    Processes that this one started are silent: several of them would write over each other.
    """
    import multiprocessing

    if sys.stderr is None or not sys.stderr.isatty() or multiprocessing.parent_process() is not None:
        yield
        return
    timer = threading.Timer(SLOW, lambda: print(one_line(text), file=sys.stderr, flush=True))
    timer.daemon = True  # Ctrl-C does not wait for it
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _fitting(widths: Sequence[int], room: int) -> list[int]:
    """The widths of the columns that there is room for, in characters; the last one may be cut."""
    fitting: list[int] = []
    for width in widths:
        if (left := room - sum(fitting) - GAP * len(fitting)) < min(width, SMALLEST_COLUMN) and fitting:
            break
        fitting.append(min(width, left))
    return fitting


def _printable(character: str) -> bool:
    return not (
        unicodedata.category(character) in UNPRINTABLE_CATEGORIES
        or unicodedata.bidirectional(character) in BIDIRECTIONAL_CONTROLS
    )

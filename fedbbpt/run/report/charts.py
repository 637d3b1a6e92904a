"""SVG charts as pure functions from numbers to markup. All text is escaped; the page's CSS sets most colours."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

# Petroff 2021, arXiv 2107.02270: ten colours that stay apart for colour-blind eyes.
PALETTE = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"]
NAMED_CLASSES = 30  # above this, names and legends are omitted

WIDTH, HEIGHT = 480, 280  # of a line chart
LEFT, RIGHT, TOP, BOTTOM = 44, 24, 50, 42  # its margins
SECOND_LINE = 15  # height of a second line of labels below the x axis
MAX_LABEL = 12  # characters of a class name on an axis
CHARACTER_WIDTH = 7.6  # width of a wide character at the charts' font size


class Series(NamedTuple):
    """A named series; `style` is the CSS class that colours it."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    tips: Sequence[str] = ()  # of the points, in place of their numbers


class BarSegment(NamedTuple):
    """A segment of a stacked bar; `label` is its tooltip."""

    value: float
    label: str
    colour: str


class Axis(NamedTuple):
    """A linear scale from values to pixels."""

    ticks: list[float]
    start: float  # pixel of the first tick
    end: float  # pixel of the last tick

    def place(self, value: float) -> float:
        """The pixel of a value."""
        first, last = self.ticks[0], self.ticks[-1]
        return self.start + (value - first) / (last - first) * (self.end - self.start)


def ticks(values: Iterable[float], *, most: int = 5, whole: bool = False) -> list[float]:
    """Evenly spaced round numbers (steps of 1, 2 or 5 · 10ⁿ) that enclose the values in about `most` steps.

    >>> ticks([0.0, 9.0])
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    known = list(values) or [0.0]
    low, high = min(known), max(known)
    raw = ((high - low) or abs(high) or 1.0) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = (first - 1, last) if first > 0 else (first, last + 1)
    return [i * step for i in range(first, last + 1)]


def tick_label(value: float, step: float) -> str:
    """A tick's label with as many digits as the step needs; k and M stand for thousands and millions.

    >>> tick_label(1500.0, 500.0), tick_label(2e6, 1e6), tick_label(1.5e-4, 5e-5)
    ('1,500', '2M', '1.5e-4')
    """
    if value and step < 1e-3:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if step >= size:
            return f"{value / size:,.0f}{unit}" if value else "0"
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def class_colour(index: int) -> str:
    """The colour of a class: ten base colours, then lighter and darker shades of them."""
    colour, turn = PALETTE[index % 10], index // 10 % 3
    shades = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    if turn:
        shades = (round(0.45 * s + (140 if turn == 1 else 0)) for s in shades)
    return "#" + "".join(f"{s:02x}" for s in shades)


def shorten(name: str) -> str:
    """Truncates a class name so that it fits on an axis."""
    return name if len(name) <= MAX_LABEL else name[: MAX_LABEL - 1] + "…"


def line_chart(
    title: str,
    x_label: str,
    lines: Sequence[Series],
    marked: float | None = None,
    *,
    legend: bool = True,
    under: Mapping[float, str] | None = None,
) -> Markup:
    """A line chart; a dashed vertical line marks the best checkpoint at `marked`.

    The legend, drawn for two or more series, has room for a few short names. `under` has a second line of labels for
    the ticks of the x axis.
    """
    points = [point for line in lines for point in line.points]
    whole = all(x == int(x) for x, _ in points)
    x = Axis(ticks([0.0, marked or 0.0, *(p[0] for p in points)], whole=whole), LEFT, WIDTH - RIGHT)
    y = Axis(ticks(p[1] for p in points), HEIGHT - BOTTOM, TOP)
    parts = [text(0, 10, "start", title, style="heading")]
    if legend and len(lines) > 1:
        parts += legend_keys(lines)
    parts += _grid(x, y, x_label, under or {})
    if marked is not None:
        mark = x.place(marked)
        parts.append(Markup('<path d="M{:.1f} {}V{}" class="mark"/>').format(mark, TOP - 12, y.start))
        side, anchor = (-5, "end") if mark > WIDTH / 2 else (5, "start")
        parts.append(text(mark + side, TOP - 12, anchor, "best"))
    for line in lines:
        parts += _series(line, x, y, x_label, marked)
    if not points:
        parts.append(text(WIDTH / 2, HEIGHT / 2, "middle", "no values"))
    return svg(WIDTH, HEIGHT + (SECOND_LINE if under else 0), f"{title} by {x_label}", "chart", parts)


def bar(parts: Sequence[BarSegment], scale: float, label: str) -> Markup:
    """A horizontal stacked bar; it fills the full width when the segments add up to `scale`."""
    start, pieces = 0.0, []
    for part in parts:
        pieces.append(
            Markup('<rect x="{:g}" width="{:g}" height="1" fill="{}"><title>{}</title></rect>').format(
                start, part.value, part.colour, part.label
            )
        )
        start += part.value
    gaps = " gaps" if 1 < len(parts) <= NAMED_CLASSES else ""
    return svg(scale, 1, label, "bar" + gaps, pieces, ' preserveAspectRatio="none"')


def legend_keys(lines: Sequence[Series]) -> list[Markup]:
    """The legend, to the right of the heading."""
    parts, end = [], float(WIDTH - RIGHT)
    for line in reversed(lines):
        start = end - CHARACTER_WIDTH * len(line.name) - 24
        parts.append(Markup('<path d="M{:.1f} 10h18" class="line {}"/>').format(start, line.style))
        parts.append(text(start + 23, 10, "start", line.name))
        end = start - 14
    return parts


def _grid(x: Axis, y: Axis, x_label: str, under: Mapping[float, str]) -> list[Markup]:
    parts = [text((x.start + x.end) / 2, HEIGHT - 9 + (SECOND_LINE if under else 0), "middle", x_label)]
    for tick in y.ticks:
        row = y.place(tick)
        parts.append(Markup('<path d="M{} {:.1f}H{}" class="grid"/>').format(x.start, row, x.end))
        parts.append(text(x.start - 7, row, "end", tick_label(tick, y.ticks[1] - y.ticks[0])))
    for tick in x.ticks:
        parts.append(text(x.place(tick), y.start + 13, "middle", tick_label(tick, x.ticks[1] - x.ticks[0])))
        if tick in under:
            parts.append(text(x.place(tick), y.start + 13 + SECOND_LINE, "middle", under[tick]))
    return parts


def _series(line: Series, x: Axis, y: Axis, x_label: str, marked: float | None) -> list[Markup]:
    places = [(x.place(a), y.place(b)) for a, b in line.points]
    path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
    parts = [Markup('<path d="M{}" class="line {}"/>').format(path, line.style)] if path else []
    radius = 2.6 if len(places) <= 60 else 1.5
    tips = line.tips or [f"{line.name}, {x_label} {value:,.0f}: {result:.4g}" for value, result in line.points]
    for (a, b), (value, _), tip in zip(places, line.points, tips, strict=True):
        parts.append(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}" class="{}"><title>{}</title></circle>').format(
                a,
                b,
                4.5 if value == marked else radius,
                line.style,
                tip,
            )
        )
    return parts


def text(x: float, y: float, anchor: str, words: str, *, style: str = "", turned: bool = False) -> Markup:
    """Text centred vertically at y; `turned` rotates it to run upwards."""
    turn = Markup(' transform="rotate(-90 {:.1f} {:.1f})"').format(x, y) if turned else ""
    return Markup('<text x="{:.1f}" y="{:.1f}" dy="4" text-anchor="{}" class="{}"{}>{}</text>').format(
        x, y, anchor, style, turn, words
    )


def svg(width: float, height: float, label: str, style: str, parts: Iterable[Markup], more: str = "") -> Markup:
    """Wraps the parts in an SVG element; `label` is read by screen readers, `style` is a CSS class."""
    return Markup('<svg viewBox="0 0 {:g} {:g}" class="{}" role="img" aria-label="{}"{}>{}</svg>').format(
        width, height, style, label, Markup(more), Markup("").join(parts)
    )

"""The figures as SVG: pure functions from numbers to markup, beside those of `fedbbpt.run.report.charts`."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from fedbbpt.run.report.charts import (
    BOTTOM,
    CHARACTER_WIDTH,
    HEIGHT,
    LEFT,
    NAMED_CLASSES,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Series,
    class_colour,
    legend_keys,
    shorten,
    svg,
    text,
    tick_label,
    ticks,
)
from fedbbpt.run.report.intervals import wilson_interval
from fedbbpt.types import Float32

APART = 9  # pixels between the lines at one number of clients, so that their intervals stand side by side
CELL, WIDEST, HIGHEST = 34, 900, 330  # pixels of a bubble chart: a cell, all columns, all rows
SMALLEST = 1.2  # radius of a bubble that can still be seen
TICK = 24  # pixels that a number on an axis takes
SIDE = 300  # of a scatter plot
DOT = 3.0  # radius of its points


def by_clients(counts: Sequence[int], lines: Sequence[Series], examples: int) -> Markup:
    """Accuracies of (number of clients, share) with their 95 % intervals for so many test examples.

    The numbers of clients stand at equal distances, so that neither few nor many are crowded.
    """
    ends = {point: wilson_interval(point[1], examples) for line in lines for point in line.points}
    x = Axis([-0.5, len(counts) - 0.5], LEFT, WIDTH - RIGHT)
    y = Axis(ticks([100 * end for pair in ends.values() for end in pair]), HEIGHT - BOTTOM, TOP)
    parts = [text(0, 10, "start", "Accuracy, %", style="heading"), *legend_keys(lines)]
    for tick in y.ticks:
        row = y.place(tick)
        parts.append(Markup('<path d="M{} {:.1f}H{}" class="grid"/>').format(x.start, row, x.end))
        parts.append(text(x.start - 7, row, "end", tick_label(tick, y.ticks[1] - y.ticks[0])))
    parts += [text(x.place(i), y.start + 13, "middle", f"{count:,}") for i, count in enumerate(counts)]
    parts.append(text((x.start + x.end) / 2, HEIGHT - 9, "middle", "clients"))
    apart = min(APART, (x.place(1) - x.place(0)) / (len(lines) + 1))
    for i, line in enumerate(lines):
        aside = (i - (len(lines) - 1) / 2) * apart
        places = [(x.place(counts.index(int(point[0]))) + aside, y.place(100 * point[1])) for point in line.points]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts += [Markup('<path d="M{}" class="line {}"/>').format(path, line.style)] if path else []
        for (a, b), point in zip(places, line.points, strict=True):
            low, high = ends[point]
            tip = f"{line.name}, {int(point[0]):,} clients: {point[1]:.1%} ({low:.1%} to {high:.1%})"
            low, high = y.place(100 * low), y.place(100 * high)
            parts.append(
                Markup('<path d="M{:.1f} {:.1f}V{:.1f}" class="whisker {}"/>').format(a, low, high, line.style)
            )
            parts.append(_circle(a, b, 3.2, Markup('class="{}"').format(line.style), tip))
    return _sheet(WIDTH, HEIGHT, "Test accuracy by number of clients", parts)


def bubbles(title: str, counts: Sequence[Sequence[int]], clients: Sequence[str], names: Sequence[str]) -> Markup:
    """Clients across, classes down: the area of a circle is how many examples of the class a client has."""
    across, down = min(CELL, WIDEST / len(clients)), min(CELL, HIGHEST / len(names))
    width, height = across * len(clients), down * len(names)
    labels = [shorten(name) for name in names] if len(names) <= NAMED_CLASSES else []
    left = 26 + max((CHARACTER_WIDTH * len(label) for label in labels), default=0)
    widest = min(max(across, down), 2 * min(across, down))  # narrow columns or rows: large circles may overlap
    largest = max(max(row) for row in counts)
    parts = [Markup('<rect x="{:.1f}" width="{:.1f}" height="{:.1f}" class="frame"/>').format(left, width, height)]
    for j, label in enumerate(labels):
        row = (j + 0.5) * down
        parts.append(Markup('<path d="M{:.1f} {:.1f}h{:.1f}" class="grid"/>').format(left, row, width))
        parts.append(text(left - 6, row, "end", label))
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100, len(clients)) if step * across >= TICK)
    for i in range(0, len(clients), every):
        parts.append(text(left + (i + 0.5) * across, height + 14, "middle", str(i)))
    for i, of_client in enumerate(counts):
        for j, count in enumerate(of_client):
            if count:
                radius = max(SMALLEST, widest / 2 * (count / largest) ** 0.5)
                tip = f"{clients[i]}, {names[j]}: {count}"
                at = left + (i + 0.5) * across, (j + 0.5) * down
                parts.append(_circle(*at, radius, Markup('fill="{}" fill-opacity=".9"').format(class_colour(j)), tip))
    parts.append(text(10, height / 2, "middle", "class", turned=True))
    parts.append(text(left + width / 2, height + 33, "middle", "client"))
    return _sheet(left + width + 2, height + 42, title, parts)


def scatter(title: str, aside: str, points: Float32, labels: Sequence[int], names: Sequence[str]) -> Markup:
    """Points (n, 2) in a square, coloured by class; both axes have one scale."""
    low, high = points.min(0), points.max(0)
    scale = (SIDE - 4 * DOT) / max(float((high - low).max()), 1e-9)
    places = (points - (low + high) / 2) * scale * [1, -1] + [SIDE / 2, SIDE / 2 + 24]
    parts = [text(0, 10, "start", title, style="heading"), text(SIDE, 10, "end", aside)]
    parts.append(Markup('<rect x=".5" y="24" width="{}" height="{}" class="frame"/>').format(SIDE - 1, SIDE))
    classes = np.asarray(labels)
    for j in sorted({*labels}):
        dots = [Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(a, b, DOT) for a, b in places[classes == j]]
        parts.append(
            Markup('<g fill="{}" fill-opacity=".85"><title>{}</title>{}</g>').format(
                class_colour(j), names[j], Markup("").join(dots)
            )
        )
    return _sheet(SIDE, SIDE + 26, f"{title}: t-SNE", parts)


def _circle(x: float, y: float, radius: float, look: Markup, tip: str) -> Markup:
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" {}><title>{}</title></circle>').format(
        x, y, radius, look, tip
    )


def _sheet(width: float, height: float, label: str, parts: Sequence[Markup]) -> Markup:
    """No larger than drawn, so that texts are of one size in all figures."""
    return svg(width, height, label, "chart", parts, Markup(' style="max-width: {:.0f}px"').format(1.1 * width))

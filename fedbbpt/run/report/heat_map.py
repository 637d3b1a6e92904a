"""A confusion matrix as SVG."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from fedbbpt.run.report.charts import CHARACTER_WIDTH, NAMED_CLASSES, shorten, svg, text

COUNTED_CLASSES = 12  # above this, counts do not fit into the cells
HEAT_MAP_SIDE = 360


def heat_map(title: str, counts: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
    """A confusion matrix: true classes by row, predicted classes by column, shaded by the share of the true class."""
    size = HEAT_MAP_SIDE / len(names)
    named = len(names) <= NAMED_CLASSES
    labels = [shorten(name) for name in names] if named else []
    longest = max((CHARACTER_WIDTH * len(label) for label in labels), default=0)
    upright = longest <= size
    left, below = 32 + longest, HEAT_MAP_SIDE + 30 + (14 if upright and named else longest + 4)
    parts = [
        Markup('<rect x="{:.1f}" width="{}" height="{}" class="frame"/>').format(left, HEAT_MAP_SIDE, HEAT_MAP_SIDE)
    ]
    parts += _cells(counts, names, left, size) if named else _dots(counts, left, size)
    for i, label in enumerate(labels):
        middle = (i + 0.5) * size
        parts.append(text(left - 6, middle, "end", label))
        if upright:
            parts.append(text(left + middle, HEAT_MAP_SIDE + 14, "middle", label))
        else:
            parts.append(text(left + middle, HEAT_MAP_SIDE + 8, "end", label, turned=True))
    parts.append(text(12, HEAT_MAP_SIDE / 2, "middle", "true class", turned=True))
    parts.append(text(left + HEAT_MAP_SIDE / 2, below - 10, "middle", "predicted class"))
    return svg(left + HEAT_MAP_SIDE + 2, below, title, "chart", parts)


def _cells(counts: Sequence[Sequence[int]], names: Sequence[str], left: float, size: float) -> list[Markup]:
    parts = []
    for i, row in enumerate(counts):
        total = sum(row)
        for j, count in enumerate(row):
            if not count:
                continue
            share, x, y = count / total, left + j * size, i * size
            tip = f"{names[i]} taken for {names[j]}: {count} of {total} ({share:.0%})"
            parts.append(
                Markup(
                    '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill-opacity="{:.3g}" class="heat">'
                    "<title>{}</title></rect>"
                ).format(x, y, size, size, share, tip)
            )
            if len(names) <= COUNTED_CLASSES:
                style = "count on-dark" if share > 0.6 else "count"
                parts.append(text(x + size / 2, y + size / 2, "middle", str(count), style=style))
    return parts


def _dots(counts: Sequence[Sequence[int]], left: float, size: float) -> list[Markup]:
    """Unlabelled cells, as one path per shade, so that the page stays small with a thousand classes."""
    shades: dict[int, list[str]] = {}
    side = max(size, HEAT_MAP_SIDE / 150)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                dot = f"M{left + j * size:.1f} {i * size:.1f}h{side:.1f}v{side:.1f}h-{side:.1f}z"
                shades.setdefault(math.ceil(10 * count / sum(row)), []).append(dot)
    return [
        Markup('<path d="{}" fill-opacity="{:g}" class="heat"/>').format("".join(dots), shade / 10)
        for shade, dots in sorted(shades.items())
    ]

"""A panel of a picture: lines and dots over two axes, in SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedbbpt.run.report.charts import Axis, Series, text
from fedbbpt_benchmarks.experiments.estimators.paths import moved

WIDTH, HEIGHT = 296, 220  # pixels, without what is written around it
CLIP = Markup('<defs><clipPath id="panel"><rect width="{}" height="{}"/></clipPath></defs>').format(WIDTH, HEIGHT)
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
Note = tuple[float, float, str]  # where words begin, by both axes, and the words


@dataclass(frozen=True)
class Panel:
    """Axes are linear in the coordinates of what is drawn, which may be logarithms.

    Attributes:
        headings: two lines above.
        x_label: what is written below the axis.
        x: the ends of the axis.
        y: those of the other one.
        x_ticks: labels by coordinate.
        y_ticks: those of the other axis.
        lines: each with its name, a tooltip.
        dots: the same for single points.
        notes: words inside.
    """

    headings: tuple[str, str]
    x_label: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_ticks: Mapping[float, str]
    y_ticks: Mapping[float, str]
    lines: Sequence[Series]
    dots: Sequence[Series] = ()
    notes: Sequence[Note] = ()

    def drawn(self, left: float, top: float) -> Markup:
        """The panel, whose frame begins at a place; needs `CLIP` in the same picture."""
        x, y = Axis([*self.x], 0, WIDTH), Axis([*self.y], HEIGHT, 0)
        parts = [text(0, -36, "start", self.headings[0], style="heading"), text(0, -16, "start", self.headings[1])]
        for value, label in self.y_ticks.items():
            parts.append(Markup('<path d="M0 {:.1f}H{}" class="grid"/>').format(y.place(value), WIDTH))
            parts.append(text(-7, y.place(value), "end", label))
        parts += [text(x.place(value), HEIGHT + 14, "middle", label) for value, label in self.x_ticks.items()]
        parts.append(text(WIDTH / 2, HEIGHT + 34, "middle", self.x_label))
        inside = []
        for line in self.lines:
            path = "L".join(f"{x.place(a):.1f} {y.place(b):.1f}" for a, b in line.points)
            shape = Markup('<path d="M{}" class="line {}"><title>{}</title></path>')
            inside.append(shape.format(path, line.style, line.name))
        for one in self.dots:
            shape = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4" class="{}"><title>{}</title></circle>')
            inside += [shape.format(x.place(a), y.place(b), one.style, one.name) for a, b in one.points]
        parts.append(Markup('<g clip-path="url(#panel)">{}</g>').format(Markup("").join(inside)))
        parts += [text(x.place(a), y.place(b), "start", words) for a, b, words in self.notes]
        return moved(left, top, parts)


def decades(low: int, high: int) -> Mapping[float, str]:
    """Ticks at the powers of ten, by their exponents.

    >>> decades(-1, 1)
    {-1: '10⁻¹', 0: '1', 1: '10'}
    """
    return {n: str(10**n) if n in (0, 1) else f"10{str(n).translate(SUPERSCRIPTS)}" for n in range(low, high + 1)}

"""Estimates of the slope at the start as arrows that point downhill, as one SVG: a pure function of stored numbers."""

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from fedbbpt.run.report.charts import svg, text
from fedbbpt_benchmarks.experiments.estimators.paths import NAMESPACE, TEXT, moved
from fedbbpt_benchmarks.experiments.estimators.slopes import POINTS, Slopes

WIDTH, HEIGHT, ASIDE = 842, 480, 540  # pixels; the legend begins at `ASIDE`
X, Y = 200, 210  # pixels, of the origin
SCALE = 520  # pixels for a nat per unit of θ
BAR = 0.1  # nats per unit of θ, of the bar that shows the scale
HEAD = 10  # pixels of an arrow's head
APART = 72  # pixels between two entries of the legend
STYLE = (
    f"{TEXT}.client{{stroke:#94a4a2;fill:#94a4a2;stroke-width:1.6}}.mean{{stroke:#bd1f01;fill:#bd1f01;stroke-width:3}}"
    ".newton{stroke:#e08a00;fill:#e08a00;stroke-width:3}.true{stroke:#3f90da;fill:#3f90da;stroke-width:3}"
    ".grid{stroke:#94a4a2;stroke-opacity:.5}"
)


def draw_slopes(found: Slopes) -> str:
    """Each client's estimate in proportion to its images, their mean, newton's gradient, and the true one."""
    counts, estimates = np.array([one[0] for one in found.clients]), np.array([one[1:] for one in found.clients])
    weighted, images = estimates * (counts / counts.mean())[:, None], counts.sum()
    mean = weighted.mean(0)
    drawn = [*((one, "client") for one in weighted), (mean, "mean"), (found.newton, "newton"), (found.true, "true")]
    of_mean = f"{2 * images:,} queries; cosine {cosine(mean, found.true):.2f}"
    of_newton = f"{(POINTS + 1) * images:,} queries; cosine {cosine(found.newton, found.true):.2f}"
    legend = [
        ("true", "the true slope,", f"{4 * images:,} queries, on both sides"),
        ("client", "SPSA-GC: a client's estimate,", "from one direction of its own"),
        ("mean", "the mean of all clients,", of_mean),
        ("newton", "Gauss–Newton, from all scores,", of_newton),
    ]
    parts = [
        Markup("<style>{}</style>").format(Markup(STYLE)),
        Markup('<path d="M0 {}H{}M{} 0V{}" class="grid"/>').format(Y, ASIDE - 40, X, HEIGHT),
        text(ASIDE - 40, Y + 16, "end", "contrast (higher →)"),
        text(X - 14, 0, "end", "size (smaller →)", turned=True),
        *(moved(X, Y, [arrow(-SCALE * float(a), SCALE * float(b), style)]) for (a, b), style in drawn),
    ]
    for i, (style, name, more) in enumerate(legend):
        entry = [arrow(34, 0, style), text(46, 0, "start", name), text(46, 22, "start", more)]
        parts.append(moved(ASIDE, 60 + APART * i, entry))
    bar = Markup('<path d="M0 -5v10M0 0h{0}M{0} -5v10" class="grid"/>').format(SCALE * BAR)
    scale = text(SCALE * BAR + 12, 0, "start", f"{BAR} nats per unit")
    parts.append(moved(ASIDE, 60 + APART * len(legend), [bar, scale]))
    title = "Estimates of the slope at the start, beside the true one"
    return str(svg(WIDTH, HEIGHT, title, "chart", parts, Markup(NAMESPACE)))


def arrow(x: float, y: float, style: str) -> Markup:
    """From the origin to a point that is not the origin; its tip is there."""
    along = np.array([x, y]) / np.hypot(x, y)
    across = along[::-1] * [-1, 1]
    tip, neck = np.array([x, y]), np.array([x, y]) - along * HEAD
    outline = "L".join(f"{a:.1f} {b:.1f}" for a, b in (neck + 0.45 * HEAD * across, tip, neck - 0.45 * HEAD * across))
    shape = Markup('<g class="{}"><path d="M0 0L{:.1f} {:.1f}"/><path d="M{}Z" stroke="none"/></g>')
    return shape.format(style, *neck, outline)


def cosine(a: ArrayLike, b: ArrayLike) -> float:
    """Of the angle between two vectors (d,)."""
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))

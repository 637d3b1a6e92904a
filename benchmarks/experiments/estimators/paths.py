"""Paths of searches over a landscape of the loss, as one SVG: a pure function of the stored numbers."""

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image
from scipy.interpolate import RectBivariateSpline

from fedbbpt.run.report.charts import Axis, svg, text
from fedbbpt_benchmarks.experiments.estimators.plane import Landscape, Point, Run

LEVELS = (0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)  # nats, between the colours
# From pale, where the loss is low, to blue; lightness alone tells them apart, for all eyes and in print.
COLOURS = ["fffbe0", "f1f4cf", "ddebc4", "c5e1bd", "aad5ba", "8ec7ba", "73b6bb", "5da3ba", "4c8db4", "4276a8", "3d5f98"]
WIDTH, HEIGHT = 380, 285  # pixels of a panel
FINE = 2  # pixels of the landscape for one of the drawing, for screens that have them
LEFT, GAP, HEADING, LEGEND = 58, 24, 36, 130  # before the panels, between, above and below them
EVERY = 4  # units between two ticks
ASKED, AFTER, MARK = 1.9, 2.8, 6.0  # radii: of candidates, of θ after a round, of the start and the end
TEXT = "text{font:15px sans-serif;fill:#767c84}.heading{font-size:17px;font-weight:600}"  # grey, for any background
STYLE = (
    f"{TEXT}.asked{{fill:#1f2430;fill-opacity:.6}}.path{{fill:none;stroke-linejoin:round}}"
    ".casing{stroke:#fff;stroke-width:5}.line{stroke:#bd1f01;stroke-width:2.2}.after{fill:#bd1f01}"
    ".start{fill:#fff;stroke:#bd1f01;stroke-width:2.5}.end{fill:#bd1f01;stroke:#fff;stroke-width:2}"
)
NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'


def draw_paths(landscape: Landscape, runs: Sequence[Run]) -> str:
    """The runs, two in a row; each with its loss (nats) at the end and its queries."""
    parts = [
        Markup("<style>{}</style><defs>").format(Markup(STYLE)),
        Markup('<image id="loss" width="{}" height="{}" href="{}"/>').format(WIDTH, HEIGHT, bands(landscape)),
        Markup('<clipPath id="panel"><rect width="{}" height="{}"/></clipPath></defs>').format(WIDTH, HEIGHT),
    ]
    rows = -(-len(runs) // 2)
    for i, run in enumerate(runs):
        row, column = divmod(i, 2)
        panel = [*_search(run, landscape), *_axes(landscape, left=column == 0, below=row == rows - 1)]
        parts.append(moved(LEFT + column * (WIDTH + GAP), HEADING + row * (HEIGHT + HEADING), panel))
    width, height = LEFT + 2 * WIDTH + GAP, rows * (HEIGHT + HEADING)
    parts.append(moved(LEFT, height + LEGEND / 2, _legend()))
    title = "Paths of searches over the training loss, by contrast and size of the image"
    return str(svg(width + 4, height + LEGEND, title, "chart", parts, Markup(NAMESPACE)))


def moved(x: float, y: float, parts: Iterable[Markup]) -> Markup:
    """The parts as a group, to the right and down."""
    return Markup('<g transform="translate({:g} {:g})">{}</g>').format(x, y, Markup("").join(parts))


def bands(landscape: Landscape) -> str:
    """The loss in bands of colour between `LEVELS`, as the URL of a PNG; cubic between the points measured."""
    axes = (landscape.x, WIDTH), (landscape.y, HEIGHT)
    x, y = (np.linspace(axis[0], axis[-1], FINE * pixels) for axis, pixels in axes)
    logs = RectBivariateSpline(landscape.y, landscape.x, np.log(landscape.losses))(y, x)[::-1]  # the top row first
    picture = Image.fromarray(np.digitize(logs, np.log(LEVELS)).astype(np.uint8))
    picture.putpalette(bytes.fromhex("".join(COLOURS)))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _search(run: Run, landscape: Landscape) -> list[Markup]:
    """One panel: the landscape, all candidates, θ after each round, and the heading above."""
    x, y = Axis(landscape.x, 0, WIDTH), Axis(landscape.y, HEIGHT, 0)

    def circles(points: Iterable[Point], radius: float, style: str) -> Markup:
        places = [(x.place(a), y.place(b), radius) for a, b in points]
        drawn = [Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(*place) for place in places]
        return Markup('<g class="{}">{}</g>').format(style, Markup("").join(drawn))

    rounds = [(a, b) for _, a, b in run.path]
    line = "L".join(f"{x.place(a):.1f} {y.place(b):.1f}" for a, b in rounds)
    inside = [
        Markup('<use href="#loss"/>'),
        circles(run.asked, ASKED, "asked"),
        *(Markup('<path d="M{}" class="path {}"/>').format(line, style) for style in ("casing", "line")),
        circles(rounds, AFTER, "after"),
        circles(rounds[:1], MARK, "start"),
        circles(rounds[-1:], MARK, "end"),
    ]
    return [
        Markup('<g clip-path="url(#panel)">{}</g>').format(Markup("").join(inside)),
        text(0, -14, "start", run.method, style="heading"),
        text(WIDTH, -14, "end", f"loss {run.loss:.3f} after {run.path[-1][0]:,} queries"),
    ]


def _axes(landscape: Landscape, *, left: bool, below: bool) -> list[Markup]:
    """Ticks and names of the axes to the left of a panel and below it, where wanted."""
    parts = []
    if below:
        x = Axis(landscape.x, 0, WIDTH)
        parts += [text(x.place(tick), HEIGHT + 15, "middle", name) for tick, name in _ticks(landscape.x)]
        parts.append(text(WIDTH / 2, HEIGHT + 36, "middle", "contrast (higher →)"))
    if left:
        y = Axis(landscape.y, HEIGHT, 0)
        parts += [text(-8, y.place(tick), "end", name) for tick, name in _ticks(landscape.y)]
        parts.append(text(-44, HEIGHT / 2, "middle", "size (smaller →)", turned=True))
    return parts


def _ticks(axis: Sequence[float]) -> list[tuple[int, str]]:
    """Multiples of `EVERY` on an axis, with their labels."""
    within = [tick for tick in range(round(axis[0]), round(axis[-1]) + 1) if tick % EVERY == 0]
    return [(tick, str(tick).replace("-", "\N{MINUS SIGN}")) for tick in within]


def _legend() -> list[Markup]:
    """The colours with their levels, and what the marks mean."""
    side = (2 * WIDTH + GAP) / len(COLOURS)
    parts = [
        Markup('<rect x="{:.1f}" width="{:.1f}" height="14" fill="#{}"/>').format(i * side, side + 0.2, colour)
        for i, colour in enumerate(COLOURS)
    ]
    parts += [text(i * side, 28, "middle", f"{level:g}") for i, level in enumerate(LEVELS, 1)]
    parts.append(text(len(COLOURS) * side, 28, "end", "nats"))
    marks = [
        (0, "start", f'<circle cx="8" r="{MARK}" class="start"/>'),
        (90, "candidate asked", f'<circle cx="10" r="{ASKED + 0.6}" fill="#767c84"/>'),
        (254, "θ after a round", f'<path d="M-10 0h26" class="path line"/><circle cx="3" r="{AFTER}" class="after"/>'),
        (416, "end", f'<circle cx="8" r="{MARK}" class="end"/>'),
    ]
    for at, name, shape in marks:
        parts.append(moved(at, 54, [Markup(shape), text(22, 0, "start", name)]))
    return parts

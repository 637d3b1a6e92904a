"""The measured curves beside the theorem's terms, as one SVG of four panels: a pure function of the stored numbers."""

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from fedbbpt.run.report.charts import Series, svg, text
from fedbbpt_benchmarks.experiments.consensus_rates.curves import (
    TOPOLOGIES,
    WAYS,
    Curve,
    Way,
    found,
    of_topology,
    terms,
)
from fedbbpt_benchmarks.experiments.consensus_rates.panel import CLIP, HEIGHT, WIDTH, Panel, decades
from fedbbpt_benchmarks.experiments.consensus_rates.quadratic import ROUNDS
from fedbbpt_benchmarks.experiments.estimators.paths import NAMESPACE, moved

LEFT, GAP, RIGHT, HEADING, BELOW, LEGEND = 46, 66, 20, 56, 50, 86  # pixels around and between the panels
COLOURS = ("#717581", "#3f90da", "#e08a00", "#bd1f01")  # of the topologies
STYLE = (
    "text{font:14px sans-serif;fill:#767c84}.heading{font-size:15px;font-weight:600}.raised{font-size:10px}"
    ".grid{stroke:#94a4a2;stroke-opacity:.35}.line{fill:none;stroke-width:2.2;stroke-linejoin:round}"
    ".four{stroke-dasharray:7 4}.term{stroke-dasharray:1.5 4;stroke-width:1.8;stroke-linecap:round}"
    ".any{stroke:#767c84}.guide{stroke-width:1}circle{stroke-width:2.2;fill:none}"
) + "".join(
    f".{topology}{{stroke:{colour}}}.{topology}.quadratic{{fill:{colour}}}"
    for topology, colour in zip(TOPOLOGIES, COLOURS, strict=True)
)
RAISED = Markup('<tspan class="raised" dy="-5">Q</tspan>')
RATIO = Markup('λ{0}<tspan dy="5"> / (1 − λ</tspan>{0}<tspan dy="5">)</tspan>').format(RAISED)
SHOWN = [Way(*way, False) for way in (("complete", 1), ("exponential", 1), ("torus", 1), ("ring", 1), ("ring", 4))]
HORIZONS = {math.log10(rounds): f"{rounds:,}" for rounds in ROUNDS}
HORIZON_ENDS = math.log10(0.8 * ROUNDS[0]), math.log10(1.2 * ROUNDS[-1])


def draw(curves: Sequence[Curve]) -> str:
    """All panels and the legend."""
    constant = constant_of(curves)
    panels = [bound(curves, constant), topology_part(curves), distances(curves), losses(curves)]
    height = HEADING + HEIGHT + BELOW
    places = [(LEFT + i % 2 * (WIDTH + GAP), HEADING + i // 2 * height) for i in range(len(panels))]
    drawn = [panel.drawn(*place) for panel, place in zip(panels, places, strict=True)]
    style, below = Markup("<style>{}</style>").format(Markup(STYLE)), moved(LEFT, 2 * height + 14, legend(constant))
    size = LEFT + 2 * WIDTH + GAP + RIGHT, 2 * height + LEGEND
    title = "Error of nodes without a server and their distances, beside the terms of a bound"
    return str(svg(*size, title, "chart", [style, CLIP, *drawn, below], Markup(NAMESPACE)))


def constant_of(curves: Sequence[Curve]) -> float:
    """What stands for the constants of the bound: the first term then meets the complete graph's last point."""
    last = found(curves, "quadratic", SHOWN[0]).points[-1]
    return last.gradient / terms(last.rounds, 0, 1).steps


def bound(curves: Sequence[Curve], constant: float) -> Panel:
    """What the theorem bounds, of the worst and the best topology, and the theorem's terms."""
    lines = []
    for way in (Way("ring", 1, False), SHOWN[0]):
        points = found(curves, "quadratic", way).points
        lines.append(line(way, logarithms((point.rounds, point.gradient) for point in points)))
    of_rounds = {rounds: terms(rounds, 0, 1) for rounds in ROUNDS}
    for name, part in (("first term", "steps"), ("second term", "rounds")):
        values = [(rounds, constant * getattr(term, part)) for rounds, term in of_rounds.items()]
        lines.append(Series(name, "term any", logarithms(values)))
    for topology in ("ring", "exponential"):
        mixed = Way(topology, 1, False).mixed
        values = [(rounds, constant * terms(rounds, mixed, 1).topology) for rounds in ROUNDS]
        lines.append(Series(f"third term, {topology}", f"term {topology}", logarithms(values)))
    notes = [
        (1.65, 1.15, "third term, ring"),
        (2.5, -0.2, "measured, first term"),
        (3.1, -2.85, "second"),
        (1.17, -2.75, "third, exponential"),
    ]
    headings = "Quadratics: error and bound", "mean of ‖∇f(x̄)‖² over T rounds"
    return Panel(headings, "rounds T", HORIZON_ENDS, (-3.2, 1.6), HORIZONS, decades(-3, 1), lines, notes=notes)


def topology_part(curves: Sequence[Curve]) -> Panel:
    """What topologies add to that, and the third term through the first point of each with one averaging."""
    lines = []
    for way in (*SHOWN[1:], Way("exponential", 4, False)):
        added = of_topology(curves, "quadratic", way)
        lines.append(line(way, logarithms(added)))
        if way.gossip_steps == 1:
            ends = [terms(rounds, way.mixed, 1).topology for rounds in (ROUNDS[0], ROUNDS[-1])]
            third = [(ROUNDS[0], added[0][1]), (ROUNDS[-1], added[0][1] * ends[1] / ends[0])]
            lines.append(Series(f"third term, {way.topology}", f"term {way.topology}", logarithms(third)))
    headings = "Quadratics: the topology’s part", "the same, less that of the complete graph"
    return Panel(headings, "rounds T", HORIZON_ENDS, (-6.3, -1.3), HORIZONS, decades(-6, -2), lines)


def distances(curves: Sequence[Curve]) -> Panel:
    """How far the nodes are from their mean at the end, and lines of slope 1 through `exponential` with Q = 1."""
    lines, dots = [], []
    for problem in ("quadratic", "softmax"):
        for way in WAYS:
            if way.topology != "complete" and not way.sharpness_aware:
                end = found(curves, problem, way).points[-1].consensus_distance
                place = logarithms([(way.mixed / (1 - way.mixed), end)])
                dots.append(Series(f"{problem}, {named(way)}", f"{way.topology} {problem}", place))
        at_one = found(curves, problem, SHOWN[1]).points[-1].consensus_distance
        lines.append(Series("slope 1", "any guide", logarithms([(0.01, 0.01 * at_one), (100, 100 * at_one)])))
    notes = [(-1.1, -0.85, "softmax"), (0.15, -2.3, f"quadratics, T = {ROUNDS[-1]:,}")]
    headings = "Distance of the nodes", "root mean square to x̄, after the last round"
    ticks = {-1.0: "0.1", 0.0: "1", 1.0: "10"}
    return Panel(headings, RATIO, (-1.4, 1.5), (-3.3, 0.2), ticks, decades(-3, 0), lines, dots, notes)


def losses(curves: Sequence[Curve]) -> Panel:
    """The loss above its minimum under the algorithm `gossip`, round by round."""
    lines = []
    for way in SHOWN:
        points = found(curves, "softmax", way).points
        lines.append(line(way, [(point.rounds, math.log10(point.excess)) for point in points]))
    last = int(lines[0].points[-1][0])
    ticks = {float(tick): str(tick) for tick in range(0, last + 1, 20)}
    headings = "Softmax regression by gossip", "f(x̄) − f(x*), nats"
    return Panel(headings, "rounds", (0, last + 1), (-3.2, -0.9), ticks, decades(-3, -1), lines)


def legend(constant: float) -> list[Markup]:
    """Topologies by colour, averagings and terms by dashes."""
    marks = [(150 * i, 0, topology, topology) for i, topology in enumerate(TOPOLOGIES)]
    marks += [(0, 26, "any", "Q = 1"), (150, 26, "any four", "Q = 4")]
    scale = (
        f"a term of the theorem, whose constants are not known: left × {constant:.1f}, right through the first point"
    )
    marks.append((0, 52, "any term", scale))
    shape = Markup('<path d="M0 0h30" class="line {}"/>')
    return [moved(x, y, [shape.format(style), text(38, 0, "start", words)]) for x, y, style, words in marks]


def line(way: Way, points: Sequence[tuple[float, float]]) -> Series:
    """A way's line, in its colour and dashes."""
    return Series(named(way), f"{way.topology}{' four' if way.gossip_steps == 4 else ''}", points)


def named(way: Way) -> str:
    """A way in words."""
    return f"{way.topology}, Q = {way.gossip_steps}"


def logarithms(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The decimal logarithms of both coordinates."""
    return [(math.log10(a), math.log10(b)) for a, b in points]

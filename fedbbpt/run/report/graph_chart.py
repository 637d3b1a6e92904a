"""A drawing of who talks to whom, with each node shaded by its accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
from markupsafe import Markup

from fedbbpt.printing import one_line
from fedbbpt.run.formatting import format_bytes, format_percent
from fedbbpt.run.report.charts import Series, line_chart, svg, text

SIDE, MARGIN = 360, 34
FEW = 100  # nodes whose places follow from all their distances; beyond, from forces
NAMED = 24  # nodes up to which their numbers are written
PALEST = 0.12


def nodes_drawn(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The charts of a run without a server, from its summary and metrics, and the bytes of a link in words."""
    nodes = [(one_line(name), client["test_accuracy"]) for name, client in summary["clients"].items()]
    points = [(row["round"], row["consensus_distance"]) for row in rows if "consensus_distance" in row]
    return {
        "graph": graph_chart(summary["nodes"]["links"], nodes),
        "consensus": line_chart(
            "Distance of the nodes to their mean, estimated", "round", [Series("distance", "validation", points)]
        ),
        "link_bytes": format_bytes(summary["nodes"]["bytes_per_link"]),
    }


def graph_chart(links: Sequence[Sequence[int]], nodes: Sequence[tuple[str, float | None]]) -> Markup:
    """Draws nodes, given as pairs (name, accuracy), and their links; the darkest node has the highest accuracy."""
    graph = nx.Graph(list(links))
    graph.add_nodes_from(range(len(nodes)))
    places = nx.kamada_kawai_layout(graph) if len(nodes) <= FEW else nx.spring_layout(graph, seed=0)
    known = [accuracy for _, accuracy in nodes if accuracy is not None] or [0.0]
    low, spread = min(known), max(known) - min(known) or 1.0

    def at(node: int) -> tuple[float, float]:
        x, y = places[node]
        half = SIDE / 2 - MARGIN
        return SIDE / 2 + half * float(x), SIDE / 2 + half * float(y)

    lines = "".join("M{:.1f} {:.1f}L{:.1f} {:.1f}".format(*at(a), *at(b)) for a, b in links)
    parts = [Markup('<path d="{}" class="link"/>').format(lines)]
    radius = max(3.0, min(15.0, 90 / max(1, len(nodes)) ** 0.6))
    for node, (name, accuracy) in enumerate(nodes):
        x, y = at(node)
        shade = 0.0 if accuracy is None else PALEST + (1 - PALEST) * (accuracy - low) / spread
        circle = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" ').format(x, y, radius)
        parts.append(circle + Markup('class="node"/>'))
        tip = f"node {node}, {name}: {format_percent(accuracy)}"
        shaded = Markup('fill-opacity="{:.3g}" class="heat"><title>{}</title></circle>').format(shade, tip)
        parts.append(circle + shaded)
        if len(nodes) <= NAMED:
            parts.append(text(x, y, "middle", str(node), style="count on-dark" if shade > 0.5 else "count"))
    return svg(SIDE, SIDE, "Nodes and their links", "chart", parts)

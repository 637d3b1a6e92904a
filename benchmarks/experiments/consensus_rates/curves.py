"""What is measured by rounds, and the terms of the bound that it is drawn beside."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from fedbbpt.topology import contraction, make

Row = dict[str, Any]
NODES = 16
LOCAL_STEPS = 5  # K
TOPOLOGIES = ("complete", "exponential", "torus", "ring")
GOSSIP_STEPS = (1, 2, 4)  # Q


class Way(NamedTuple):
    """How the nodes train."""

    topology: str
    gossip_steps: int  # Q
    sharpness_aware: bool

    @property
    def mixed(self) -> float:
        """λ^Q: what the averaging of a round leaves of the nodes' distances, at worst."""
        factor = round(contraction(make(self.topology, NODES)), 12)  # the rest differs from processor to processor
        return factor**self.gossip_steps


WAYS = [
    Way(topology, gossip_steps, sharpness_aware)
    for topology in TOPOLOGIES
    for gossip_steps in (GOSSIP_STEPS if topology != "complete" else (1,))  # there, once is an exact mean
    for sharpness_aware in (False, True)
]


class Point(NamedTuple):
    """What is measured after T rounds. x̄ is the nodes' mean, and x* the minimum of f, the mean of their losses."""

    rounds: int  # T
    gradient: float  # mean of ‖∇f(x̄)‖² before each of the rounds: what the theorem bounds
    excess: float  # f(x̄) − f(x*)
    distance: float  # ‖x̄ − x*‖²
    consensus_distance: float  # of the nodes to x̄, root mean square


class Curve(NamedTuple):
    """One way on one problem."""

    problem: str
    way: Way
    points: list[Point]

    def to_row(self) -> Row:
        """As a line of a file: a list for each part of the points."""
        parts = {part: [getattr(point, part) for point in self.points] for part in Point._fields}
        return {"problem": self.problem, **self.way._asdict(), **parts}

    @classmethod
    def from_row(cls, row: Row) -> "Curve":
        """The curve of a line."""
        way = Way(*(row[part] for part in Way._fields))
        points = zip(*(row[part] for part in Point._fields), strict=True)
        return cls(row["problem"], way, [Point(*point) for point in points])


def found(curves: Sequence[Curve], problem: str, way: Way) -> Curve:
    """The curve of a way on a problem."""
    return next(curve for curve in curves if (curve.problem, curve.way) == (problem, way))


def of_topology(curves: Sequence[Curve], problem: str, way: Way) -> list[tuple[int, float]]:
    """What a topology adds to `Point.gradient`: by rounds, the difference to the complete graph, where λ is 0."""
    complete = found(curves, problem, Way("complete", 1, way.sharpness_aware))
    pairs = zip(found(curves, problem, way).points, complete.points, strict=True)
    return [(own.rounds, own.gradient - without.gradient) for own, without in pairs]


class Terms(NamedTuple):
    """The terms of a bound of `Point.gradient`, without the constants before them."""

    steps: float  # 1 / √(K T)
    rounds: float  # 1 / T
    topology: float


def terms(rounds: int, mixed: float, gossip_steps: int) -> Terms:
    """The bound of DFedSAM and DFedSAM-MGS after T rounds, by Shi et al. 2023 (arXiv 2302.04083, abstract).

    The third term is 1 / (√K T^1.5 (1 − λ)²) with one gossip step, else (λ^Q + 1) / (√K T^1.5 (1 − λ^Q)²).

    >>> [round(term, 4) for term in terms(5, 0.5, 1)]
    [0.2, 0.2, 0.16]
    """
    topology = (1 if gossip_steps == 1 else mixed + 1) / (math.sqrt(LOCAL_STEPS) * rounds**1.5 * (1 - mixed) ** 2)
    return Terms(1 / math.sqrt(LOCAL_STEPS * rounds), 1 / rounds, topology)

"""A plane through the space of θ: a search that is confined to it is seen whole, with nothing projected away."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.prompts import Prompt
from fedbbpt.types import Float32, Floats, Inputs
from fedbbpt_benchmarks.experiments.box import Box, OpenBox
from fedbbpt_benchmarks.experiments.boxes import COMMON, ours

BOX = Box("digits", "affine", 10)
DATA_SEED = 1  # the same images in all runs, so that all searches are on one landscape
BACKEND = {"name": "local-vit", "classifier": "mnist", "dtype": "bfloat16"}
CONTRAST, WIDTH, HEIGHT = 12, 6, 9  # places in the θ of `affine`
BUDGET = 5_280  # queries for training: those of the start and eight rounds of newton
METHODS: Mapping[str, Mapping[str, Any]] = {
    "SPSA-GC": {"optimizer": {"name": "spsa-gc"}, "algorithm": {"name": "fedavg"}},
    "CMA-ES": {"optimizer": {"name": "cma"}, "algorithm": COMMON},
    "random search": {"optimizer": {"name": "random"}, "algorithm": COMMON},
    "Gauss–Newton": {"algorithm": {"name": "newton"}},
}
Point = tuple[float, float]


class Plane(Prompt):
    """Another prompt, tuned in a plane: its θ is z₁ · `axes`[0] + z₂ · `axes`[1], and z = 0 the start.

    Attributes:
        asked: the points z at which it was applied, in order.
    """

    dim = 2

    def __init__(self, inner: Prompt, axes: NDArray[np.float64]) -> None:
        self.modalities = inner.modalities
        self._inner, self._axes = inner, axes
        self.asked: dict[Point, None] = {}

    def apply(self, theta: Floats, inputs: Inputs, features: Float32 | None) -> Inputs:
        """See `Prompt`."""
        self.asked |= dict.fromkeys((float(x), float(y)) for x, y in theta)
        return self._inner.apply(theta @ self._axes, inputs, features)


class Landscape(NamedTuple):
    """The loss over the plane."""

    x: list[float]  # contrast, units of θ
    y: list[float]  # size, the same
    losses: list[list[float]]  # (y, x), nats, of all training images


class Run(NamedTuple):
    """A search in the plane."""

    method: str
    seed: int
    path: list[tuple[int, float, float]]  # z after each round, and the queries until then
    asked: list[Point]
    loss: float  # of all training images at the path's end, nats


def contrast_and_size() -> NDArray[np.float64]:
    """The plane's axes (2, 13) for `affine`: the contrast, and width and height together."""
    axes = np.zeros((2, 13))
    axes[0, CONTRAST] = axes[1, WIDTH] = axes[1, HEIGHT] = 1
    return axes


def opened(method: str, seed: int) -> tuple[OpenBox, Plane]:
    """The box in the plane, with a method of `METHODS`; `seed` is the search's."""
    box = BOX.opened(DATA_SEED, {"backend": BACKEND, **METHODS[method]}).simulation
    plane = Plane(box.prompt, contrast_and_size())
    return OpenBox(replace(box, prompt=plane, config=box.config.model_copy(update={"seed": seed}))), plane


def landscape(x: Sequence[float], y: Sequence[float]) -> Landscape:
    """The loss at all points of a grid; each takes a query per training image."""
    box, _ = opened("SPSA-GC", DATA_SEED)
    return Landscape([*x], [*y], [[round(box.loss(np.array([a, b])), 4) for a in x] for b in y])


def run(method: str, seed: int) -> Run:
    """A search from the start, as far as whole rounds go within `BUDGET`."""
    box, plane = opened(method, seed)
    path = ours(box, BUDGET)
    asked = [rounded(z) for z in plane.asked]  # before the end's loss is measured
    return Run(method, seed, [(spent, *rounded(z)) for spent, z in path], asked, round(box.loss(path[-1][1]), 4))


def rounded(z: Floats | Sequence[float]) -> Point:
    """A point as it is stored."""
    return round(float(z[0]), 3), round(float(z[1]), 3)

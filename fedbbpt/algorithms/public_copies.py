"""What a node and its neighbours know of each other's parameters, where letters say only the most of what has changed.

Koloskova, Stich & Jaggi 2019, ICML, arXiv 1902.00340, algorithm 1 (CHOCO-Gossip). Its x̂ⱼ, the public copy of node j's
parameters, is the same at j and at its neighbours, bit for bit, as long as no letter is lost. Here, all copies begin
with a letter of the parameters themselves, and are those after an exchange of a certain number: who has others, say
since it was away, cannot take part in the next one.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedbbpt.algorithms import ClientContext, OutOfDateError
from fedbbpt.algorithms.compression import Compressor, compress, expand
from fedbbpt.algorithms.loss_broadcast import names_of, packed_names
from fedbbpt.types import Float32, Floats, Parameters

# Names and prefix in a client's state.
EXCHANGE, NEIGHBOURS, PARTS = "public/exchange", "public/neighbours", "public/parts/"

PIECE = 1 << 14  # numbers that are averaged at a time: in float64, all would not stay in the processor's cache


class PublicCopies(NamedTuple):
    """The public copies that a node has: its own, and those of its neighbours."""

    neighbours: list[str]
    parts: Mapping[str, Float32]  # (1 + neighbours, d): the node's own first

    @classmethod
    def of(cls, ctx: ClientContext, exchange: int) -> "PublicCopies":
        """Those in the client's state, after the exchange of this number.

        Raises:
            OutOfDateError: there are none, or others.
        """
        if EXCHANGE not in ctx.state or ctx.state[EXCHANGE][0] != exchange:
            raise OutOfDateError
        parts = {k.removeprefix(PARTS): v for k, v in ctx.state.items() if k.startswith(PARTS)}
        return cls(names_of(ctx.state[NEIGHBOURS]), parts)

    @classmethod
    def said(cls, own: Parameters, letters: Mapping[str, Parameters]) -> "PublicCopies":
        """Those after letters that say all."""
        return cls(
            [*letters], {part: np.stack([x, *(one[part] for one in letters.values())]) for part, x in own.items()}
        )

    def store(self, ctx: ClientContext, exchange: int) -> None:
        """Puts these, after the exchange of this number, in place of those in the client's state."""
        ctx.state.update({PARTS + part: values for part, values in self.parts.items()})
        ctx.state[NEIGHBOURS] = packed_names(self.neighbours)
        ctx.state[EXCHANGE] = np.array([exchange])

    def letter(self, own: Parameters, compressor: Compressor) -> dict[str, NDArray[Any]]:
        """q = C(x − x̂): the most of what has changed in the node's own parameters since its last letter."""
        return compress({part: x - self.parts[part][0] for part, x in own.items()}, compressor)

    def after(
        self, own: Parameters, letters: Mapping[str, Mapping[str, NDArray[Any]]], compressor: Compressor
    ) -> "PublicCopies":
        """The copies x̂ + q after the node's own letter and those of some of its neighbours.

        Raises:
            OutOfDateError: a letter is of somebody else.
        """
        if not set(self.neighbours) >= letters.keys():
            raise OutOfDateError
        rows = [0, *(1 + self.neighbours.index(name) for name in letters)]
        said = [expand(one, compressor, own) for one in (self.letter(own, compressor), *letters.values())]
        return PublicCopies(
            [*letters],
            {part: values[rows] + np.stack([changes[part] for changes in said]) for part, values in self.parts.items()},
        )

    def average(self, weights: Floats) -> dict[str, Float32]:
        """The copies' weighted mean, by part."""
        return {part: _weighted(weights, values).astype(np.float32) for part, values in self.parts.items()}

    def moved(self, own: Parameters, weights: Floats, step: float) -> dict[str, Float32]:
        """x + γ (Σⱼ wⱼ x̂ⱼ − x̂): the node's own parameters, nearer to its neighbours' by the consensus step γ."""
        ways = {part: _weighted(weights, values) - values[0] for part, values in self.parts.items()}
        return {part: (own[part] + step * way).astype(np.float32) for part, way in ways.items()}


def _weighted(weights: Floats, values: Float32) -> NDArray[np.float64]:
    """The weighted sum (d,) of rows (n, d)."""
    pieces = (values[:, start : start + PIECE] for start in range(0, values.shape[1], PIECE))
    return np.concatenate([np.zeros(0), *(weights @ piece for piece in pieces)])

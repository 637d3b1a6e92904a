"""By the formulas: up to how many samples a method's bytes are a given share of another's."""

from dataclasses import replace
from typing import NamedTuple

from fedbbpt_benchmarks.experiments.costs.formula import Setting, cost
from fedbbpt_benchmarks.experiments.costs.vit_sizes import Shape

MANY = 10**6  # samples


class Bytes(NamedTuple):
    """What travels for n samples: fixed + each · n, but for the rounding of γ · n."""

    fixed: float
    each: float

    def meets(self, other: "Bytes", share: float) -> float:
        """The n at which this is that share of the other; negative where there is none."""
        slope = self.each - share * other.each
        return (share * other.fixed - self.fixed) / slope if slope else -1.0

    def within(self, other: "Bytes", share: float) -> str:
        """For about which n this is at most that share of the other, as if γ·n needed no rounding up."""
        always, n = self.each <= share * other.each, self.meets(other, share)
        if n < 0:
            return "any n" if always else "no n"
        return f"n ≳ {n:,.0f}" if always else f"n ≲ {n:,.0f}"


def bytes_of(shape: Shape, setting: Setting) -> Bytes:
    """Of a round of one client, by the number of its samples."""
    none, many = (cost(shape, replace(setting, samples=n)).bytes for n in (0, MANY))
    return Bytes(none, (many - none) / MANY)

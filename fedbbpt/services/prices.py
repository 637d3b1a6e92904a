"""Prices of services: the user's own, else those of a dated list."""

import tomllib
from importlib.resources import files
from typing import Annotated, Any, NamedTuple

from pydantic import Field

NANODOLLARS = 1e9  # per dollar; costs are whole numbers of them


class Price(NamedTuple):
    """Dollars per million tokens.

    >>> Price(input=0.15, output=0.60).cost(tokens=1000, output_tokens=200) / NANODOLLARS
    0.00024
    """

    input: float
    output: float

    def cost(self, tokens: int, output_tokens: int) -> int:
        """Nanodollars for `tokens`, `output_tokens` of which the model wrote."""
        return round(((tokens - output_tokens) * self.input + output_tokens * self.output) * NANODOLLARS / 1e6)


FREE = Price(0.0, 0.0)
Dollars = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]  # per million tokens
PriceOption = Annotated[list[Dollars], Field(min_length=2, max_length=2)]  # of a backend: [input, output]


def list_price(model: str) -> Price | None:
    """The list's price of a model; of a dated one ("…-2024-07-18") that of its family. None: not in the list."""
    prices = _price_list()["dollars_per_million_tokens"]
    names = [name for name in prices if model == name or model.startswith(f"{name}-20")]
    return Price(**prices[max(names, key=len)]) if names else None


def list_month() -> str:
    """The month of the price list, "YYYY-MM"."""
    return str(_price_list()["version"])


def _price_list() -> dict[str, Any]:
    return tomllib.loads(files("fedbbpt.services").joinpath("prices.toml").read_text("utf-8"))

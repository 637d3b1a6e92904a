"""What services charge, from a table with a date; the user's own prices win."""

import tomllib
from importlib.resources import files
from typing import Annotated, Any, NamedTuple

from pydantic import Field

NANO = 1e9  # parts of a dollar that are counted


class Price(NamedTuple):
    """Dollars for a million tokens."""

    input: float
    output: float

    def of(self, tokens: int, output_tokens: int) -> int:
        """10⁻⁹ dollars for so many tokens, `output_tokens` of which the model wrote."""
        return round(((tokens - output_tokens) * self.input + output_tokens * self.output) * NANO / 1e6)


FREE = Price(0.0, 0.0)
Dollars = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]  # for a million tokens
Given = Annotated[list[Dollars], Field(min_length=2, max_length=2)]  # as an option: input, output


def known(model: str) -> Price | None:
    """The table's price of a model; of a dated one ("…-2024-07-18") that of its family."""
    table = _table()["dollars_per_million_tokens"]
    names = [name for name in table if model == name or model.startswith(f"{name}-20")]
    return Price(**table[max(names, key=len)]) if names else None


def version() -> str:
    """The month that the table is of."""
    return str(_table()["version"])


def _table() -> dict[str, Any]:
    return tomllib.loads(files("fedbbpt.services").joinpath("prices.toml").read_text("utf-8"))

"""What was measured, as Markdown."""

from collections.abc import Mapping, Sequence

from fedbbpt.run.formatting import DASH, format_bytes
from fedbbpt_benchmarks.experiments.costs.cost import Link
from fedbbpt_benchmarks.experiments.costs.instrumented import SIDES
from fedbbpt_benchmarks.experiments.costs.measure import Measured

Rows = Mapping[str, Measured]  # by method


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits, or whole from a thousand on."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def of_bytes(rows: Rows) -> str:
    """What travels."""
    heads = ["method", "message", "update", "cuts, down", "cuts, up", "all", "by formula", "measured / formula"]
    cells = []
    for method, (cost, formula, *_) in rows.items():
        parts = [cost.down, cost.up, cost.crossed_down, cost.crossed_up, cost.bytes, formula.bytes]
        cells.append([method, *map(format_bytes, parts), f"{cost.bytes / formula.bytes:.4f}"])
    return table([*heads, "of FL full"], _against(cells, {method: row.cost.bytes for method, row in rows.items()}))


def of_flops(rows: Rows) -> str:
    """What is computed, in GFLOPs."""
    heads = ["method", "client", "by formula", "server", "by formula", "measured / formula"]
    cells = []
    for method, (cost, formula, *_) in rows.items():
        parts = [cost.client, formula.client, cost.server, formula.server]
        ratio = (cost.client + cost.server) / (formula.client + formula.server)
        cells.append([method, *(number(part / 1e9) for part in parts), f"{ratio:.4f}"])
    heads += ["client's, of FL full"]
    return table(heads, _against(cells, {method: row.cost.client for method, row in rows.items()}))


def of_memory(rows: Rows) -> str:
    """Peaks of memory: parameters held once, and the most that tensors took."""
    heads = ["method", *(f"{side}: {what}" for side in SIDES for what in ("parameters", "tensors", "both"))]
    cells = []
    for method, row in rows.items():
        sides = [row.memory[side] for side in SIDES]
        cells.append([method, *(format_bytes(part) for side in sides for part in (*side, sum(side)))])
    heads += ["client's, of FL full"]
    return table(heads, _against(cells, {method: sum(row.memory["client"]) for method, row in rows.items()}))


def of_time(rows: Rows, link: Link) -> str:
    """Run time, estimated, in seconds."""
    heads = ["method", "messages", "network", "client", "server", "rest", "all"]
    cells = []
    for method, row in rows.items():
        seconds = [link.seconds(row.cost), *row.times]
        cells.append([method, str(row.cost.messages), *map(number, [*seconds, sum(seconds)])])
    return table(heads, cells)


def _against(cells: Sequence[Sequence[str]], amounts: Mapping[str, float]) -> list[list[str]]:
    """With the share of what FL takes where everything is trained."""
    whole = amounts.get("fl-full")
    shares = [DASH if whole is None else f"{100 * amount / whole:.3g} %" for amount in amounts.values()]
    return [[*row, share] for row, share in zip(cells, shares, strict=True)]

"""The results as tables, which are Markdown when they are printed."""

from collections.abc import Iterable, Iterator, Sequence

from rich.box import MARKDOWN
from rich.table import Table

from fedbbpt.run.formatting import format_bytes
from fedbbpt_benchmarks.federation.results import Results
from fedbbpt_benchmarks.federation.scale import SITES


def tables(results: Results) -> Iterator[Table]:
    """All of them, in the order of the page `docs/federation-scale.md`."""
    yield _table(
        "An exchange of 10 kB with all sites, in milliseconds",
        ["sites", "p50", "p90", "NVFlare alone: p50", "p90", "p50 / p50", "simulated"],
        (
            [
                one.sites,
                *_milliseconds(one.p50, one.p90, one.echo_p50, one.echo_p90),
                f"{one.ratio:.2f}",
                *_milliseconds(one.simulated),
            ]
            for one in results.latencies
        ),
    )
    over = results.overhead
    runs = {"nvflare": (over.joined, over.federation), "processes": (0.0, over.processes)}
    yield _table(
        f"The default run with {over.sites} sites: {over.seconds:+.1f} s, results {'equal' if over.same else 'DIFFER'}",
        ["engine", "until joined, s", "run, s", "queries", "bytes down", "bytes up", "exchanges", "SHA-256"],
        (
            [
                engine,
                *(f"{seconds:.1f}" for seconds in (joined, run.seconds)),
                *(f"{count:,}" for count in (run.queries, run.bytes_down, run.bytes_up, run.exchanges)),
                run.parameters[:16],
            ]
            for engine, (joined, run) in runs.items()
        ),
    )
    yield _table(
        "The exchanges of two rounds of the default run",
        ["sites", "exchanges", "measured, s", "simulated, s", "error"],
        (
            [one.sites, one.exchanges, f"{one.measured:.1f}", f"{one.simulated:.1f}", f"{100 * one.error:+.0f} %"]
            for one in results.predictions
        ),
    )
    yield _table(
        "A round of one site",
        ["method", "exchanges", "passes through the body", "to the site", "from the site"],
        (
            [method, f"{one.exchanges:.1f}", f"{one.passes:.0f}", format_bytes(one.down), format_bytes(one.up)]
            for method, one in results.traffic.items()
        ),
    )
    yield _table(
        "The server's traffic in a round, both directions",
        ["method", *_of_sites()],
        (
            [method, *(format_bytes(sites * (one.down + one.up)) for sites in SITES)]
            for method, one in results.traffic.items()
        ),
    )
    yield _table(
        "A round, in seconds",
        ["method", "server's line, latency", *_of_sites()],
        (
            [method, network, *(f"{by_sites[sites]:,.1f}" for sites in SITES)]
            for method, networks in results.seconds.items()
            for network, by_sites in networks.items()
        ),
    )
    measured = [f"{one.sites}, measured" for one in results.federations]
    memory = [*(one.memory["server"] for one in results.federations), *results.memory.values()]
    yield _table(
        "The server's memory, by number of sites",
        ["", *measured, *(f"{sites:,}, extrapolated" for sites in results.memory)],
        [["memory", *map(format_bytes, memory)]],
    )


def _milliseconds(*seconds: float) -> list[str]:
    return [f"{1000 * one:.1f}" for one in seconds]


def _of_sites() -> list[str]:
    return [f"{sites:,} sites" for sites in SITES]


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(title=title, title_justify="left", box=MARKDOWN)
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(str, row))
    return table

